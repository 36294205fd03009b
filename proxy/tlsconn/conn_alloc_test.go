//go:build !race

package tlsconn

import "testing"

// A record takes no memory, in either direction, once the pools are filled. The
// race detector empties them at random.
func TestAllocations(t *testing.T) {
	for _, suite := range []uint16{0x009E, 0x0067, 0xC028} {
		for _, size := range []int{100, maxPlaintext, 4 * maxPlaintext} {
			c := connected(t, suite)
			data := make([]byte, size)
			var record []byte
			allocations := testing.AllocsPerRun(100, func() {
				record = record[:0]
				for rest := data; len(rest) > 0; rest = rest[min(len(rest), maxPlaintext):] {
					record = c.out.seal(record, recordApplicationData, rest[:min(len(rest), maxPlaintext)])
				}
				c.conn.toServer.Write(record)
				for n := 0; n < size; {
					m, err := c.server.Read(data)
					if err != nil {
						t.Fatal(err)
					}
					n += m
				}
				if _, err := c.server.Write(data); err != nil {
					t.Fatal(err)
				}
				c.conn.toClient.Reset()
			})
			if allocations >= 1 {
				t.Errorf("suite %04X, %d bytes: %v allocations", suite, size, allocations)
			}
		}
	}
}
