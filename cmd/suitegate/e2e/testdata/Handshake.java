import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.security.Security;
import javax.net.ssl.SSLSocket;
import javax.net.ssl.SSLSocketFactory;

/**
 * Connects once for each "PROTOCOL SUITE" pair of the arguments after the
 * port, sends a line, and prints what was negotiated and the line that came
 * back, or why there was none.
 */
public final class Handshake {
    public static void main(String[] args) {
        // What Java would not offer by itself is what has to be refused.
        Security.setProperty("jdk.tls.disabledAlgorithms", "");
        int port = Integer.parseInt(args[0]);
        for (int i = 1; i + 1 < args.length; i += 2) {
            try (SSLSocket socket = (SSLSocket) SSLSocketFactory.getDefault().createSocket("127.0.0.1", port)) {
                socket.setEnabledProtocols(new String[] {args[i]});
                socket.setEnabledCipherSuites(new String[] {args[i + 1]});
                socket.startHandshake();
                socket.getOutputStream().write("hello\n".getBytes());
                String line = new BufferedReader(new InputStreamReader(socket.getInputStream())).readLine();
                System.out.println(socket.getSession().getProtocol() + " " + socket.getSession().getCipherSuite() + " " + line);
            } catch (IOException e) {
                // Later releases of Java 17 put "(handshake_failure) " in front.
                System.out.println(args[i] + " " + args[i + 1] + " " + e.getMessage().replaceFirst("^\\(\\w+\\) ", ""));
            }
        }
    }
}
