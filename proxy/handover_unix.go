//go:build unix

package proxy

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/suitegate/suitegate/proxy/audit"
)

// How one process takes the place of another, over the admin socket of the
// latter: it asks with POST /takeover, gets the sockets that listen
// (SCM_RIGHTS, unix(7)), accepts from them beside the other one, and says so;
// then the other one drains. There is one queue of connections all the while,
// which somebody accepts from: none is refused, and none reset. (Two sockets on
// one port, with SO_REUSEPORT, have a queue each, and Linux resets what is in
// that of the one that is closed.)

const (
	// maxRights is how many sockets a message has at most (SCM_MAX_FD is 253).
	maxRights = 200

	// takeoverPatience is how long the other process may take to start.
	takeoverPatience = 5 * time.Minute

	takeoverReady = "ready\n"
	takeoverDone  = "draining\n"
)

// socketUse is what a socket that is handed over is for.
type socketUse struct {
	Use  string `json:"use"`
	Name string `json:"name"`
}

// handOver gives the sockets away, and drains when the other side serves. If it
// never does, nothing has happened.
func (s *Server) handOver(conn *net.UnixConn, by audit.Operator) {
	defer conn.Close()
	err := s.offerSockets(conn)
	if err == nil {
		err = expect(conn, takeoverReady)
	}
	s.mu.Lock()
	if err == nil && s.closed {
		err = ErrClosed
	}
	s.handedOver = s.handedOver || err == nil
	s.mu.Unlock()
	s.Record(audit.Entry{Action: "hand_over", By: by, Err: err})
	if err != nil {
		s.log().Error("the other process does not take over", "by", by.String(), "error", err)
		return
	}
	s.log().Info("handed over", "by", by.String())
	s.Stop(by)
	_, _ = io.WriteString(conn, takeoverDone) // whether the other side hears it changes nothing
}

// expect reads what the other side has to say next.
func expect(conn net.Conn, want string) error {
	_ = conn.SetReadDeadline(time.Now().Add(takeoverPatience)) // an error shows in Read
	got := make([]byte, len(want))
	if _, err := io.ReadFull(conn, got); err != nil {
		return fmt.Errorf("proxy: takeover: %w", err)
	}
	if string(got) != want {
		return fmt.Errorf("proxy: takeover: the other side says %q, want %q", got, want)
	}
	return nil
}

// offerSockets sends the sockets, and what they are for in the same order.
func (s *Server) offerSockets(conn *net.UnixConn) error {
	uses, files, err := s.openSockets()
	defer func() {
		for _, file := range files {
			_ = file.Close()
		}
	}()
	if err != nil {
		return err
	}
	for some := range slices.Chunk(files, maxRights) {
		if err := sendFiles(conn, some); err != nil {
			return fmt.Errorf("proxy: takeover: %w", err)
		}
	}
	return json.NewEncoder(conn).Encode(uses)
}

// sendFiles sends files along with a line break, which JSON takes no notice of.
func sendFiles(conn *net.UnixConn, files []*os.File) error {
	raws := make([]int, len(files))
	for i, file := range files {
		raws[i] = int(file.Fd())
	}
	_, _, err := conn.WriteMsgUnix([]byte("\n"), syscall.UnixRights(raws...), nil)
	return err
}

// openSockets opens what listens now once more.
func (s *Server) openSockets() (uses []socketUse, files []*os.File, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, nil, ErrClosed
	}
	add := func(use, name string, l net.Listener) {
		socket, ok := l.(syscall.Conn)
		if !ok || err != nil {
			return
		}
		var file *os.File
		if file, err = dupSocket(socket); err == nil {
			uses, files = append(uses, socketUse{use, name}), append(files, file)
		}
	}
	for _, l := range s.listeners {
		r := l.route.Load()
		add(listenerUse(r), r.Name, l.socket)
	}
	if s.admin.tcp.socket != nil {
		add(adminUse(s.admin.tcp.configured), "admin", s.admin.tcp.socket)
	}
	for address, l := range s.http01.sockets {
		add(http01Use(address), "http-01", l)
	}
	return uses, files, err
}

// dupSocket opens a socket once more. Unlike that of the File method of package
// net, its Fd leaves the socket as it is: who made it block would do so for all
// that have it open, in this process and in others.
func dupSocket(socket syscall.Conn) (file *os.File, err error) {
	raw, err := socket.SyscallConn()
	if err != nil {
		return nil, err
	}
	failed := raw.Control(func(fd uintptr) {
		var another int
		if another, err = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0); err == nil {
			file = os.NewFile(uintptr(another), "socket")
		}
	})
	if failed != nil {
		return nil, failed
	}
	return file, os.NewSyscallError("fcntl", err)
}

// A Takeover is the side of the process that takes the place of another.
type Takeover struct {
	// Sockets are what the other one listens on: for Server.Sockets, with
	// Server.Replacing.
	Sockets []*Socket

	conn *net.UnixConn
}

// TakeOver asks the gateway behind an admin socket for its sockets. It goes on
// serving; nothing has happened if Close is called before Ready.
func TakeOver(path string) (*Takeover, error) {
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("proxy: takeover: %w", err)
	}
	t := &Takeover{conn: conn}
	if err := t.receive(); err != nil {
		t.Close()
		return nil, fmt.Errorf("proxy: takeover: %w", err)
	}
	return t, nil
}

func (t *Takeover) receive() error {
	_ = t.conn.SetDeadline(time.Now().Add(takeoverPatience)) // an error shows in Read
	if _, err := io.WriteString(t.conn, "POST /takeover HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: suitegate-takeover\r\nContent-Length: 0\r\n\r\n"); err != nil {
		return err
	}
	rights := &rightsReader{conn: t.conn}
	defer rights.close()
	from := bufio.NewReader(rights)
	response, err := http.ReadResponse(from, nil)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusSwitchingProtocols {
		text, _ := io.ReadAll(io.LimitReader(response.Body, 4<<10)) // the status is error enough
		return fmt.Errorf("the gateway answers %s: %s", response.Status, strings.TrimSpace(string(text)))
	}
	var uses []socketUse
	if err := json.NewDecoder(from).Decode(&uses); err != nil {
		return err
	}
	if len(uses) != len(rights.files) {
		return fmt.Errorf("%d sockets came for %d uses", len(rights.files), len(uses))
	}
	for i, use := range uses {
		file := rights.files[i]
		rights.files[i] = nil
		socket, err := NewSocket(use.Name, file)
		if err != nil {
			return err
		}
		socket.use = use.Use
		t.Sockets = append(t.Sockets, socket)
	}
	return nil
}

// Ready says that the sockets are accepted from. The other gateway drains from
// then on.
func (t *Takeover) Ready() error {
	defer t.conn.Close()
	if _, err := io.WriteString(t.conn, takeoverReady); err != nil {
		return fmt.Errorf("proxy: takeover: %w", err)
	}
	return expect(t.conn, takeoverDone)
}

// Close gives up what is not used.
func (t *Takeover) Close() {
	_ = t.conn.Close()
	for _, socket := range t.Sockets {
		_ = socket.tcp.Close()
	}
}

// rightsReader reads from a Unix socket, and keeps the files that come along.
type rightsReader struct {
	conn  *net.UnixConn
	files []*os.File
}

// Read implements [io.Reader].
func (r *rightsReader) Read(p []byte) (int, error) {
	control := make([]byte, syscall.CmsgSpace(4*maxRights))
	n, controls, _, _, err := r.conn.ReadMsgUnix(p, control)
	if err != nil {
		return n, err
	}
	messages, err := syscall.ParseSocketControlMessage(control[:controls])
	if err != nil {
		return n, err
	}
	for _, message := range messages {
		rights, err := syscall.ParseUnixRights(&message)
		if err != nil {
			continue // something else
		}
		for _, fd := range rights {
			r.files = append(r.files, os.NewFile(uintptr(fd), "socket"))
		}
	}
	if n == 0 && len(p) > 0 {
		return 0, io.EOF
	}
	return n, nil
}

// close closes those that nobody has taken.
func (r *rightsReader) close() {
	for _, file := range r.files {
		if file != nil {
			_ = file.Close()
		}
	}
}
