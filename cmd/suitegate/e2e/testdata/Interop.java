import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.lang.reflect.Field;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.Security;
import java.util.Arrays;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLSession;
import javax.net.ssl.SSLSocket;

/**
 * Connects twice with each suite of the arguments after the port and a file,
 * sends the file and receives as much, and prints a line of what was
 * negotiated and whether the same bytes came back, or why there was none.
 */
public final class Interop {
    private static int port;
    private static byte[] payload;

    public static void main(String[] args) throws Exception {
        // What Java would not offer by itself is what is to be shown.
        Security.setProperty("jdk.tls.disabledAlgorithms", "");
        port = Integer.parseInt(args[0]);
        payload = Files.readAllBytes(Path.of(args[1]));
        for (String suite : Arrays.copyOfRange(args, 2, args.length)) {
            // A context has its own cache of sessions: the first connection has none to resume.
            SSLContext context = SSLContext.getInstance("TLS");
            context.init(null, null, null);
            SSLSession first = connect(context, suite, null);
            if (first != null) {
                connect(context, suite, first);
            }
        }
    }

    private static SSLSession connect(SSLContext context, String suite, SSLSession before) throws Exception {
        try (SSLSocket socket = (SSLSocket) context.getSocketFactory().createSocket("127.0.0.1", port)) {
            socket.setEnabledProtocols(new String[] {"TLSv1.2"});
            socket.setEnabledCipherSuites(new String[] {suite});
            socket.startHandshake();
            OutputStream out = socket.getOutputStream();
            out.write(payload);
            out.flush();
            ByteArrayOutputStream back = new ByteArrayOutputStream(payload.length);
            socket.getInputStream().transferTo(back);
            SSLSession session = socket.getSession();
            System.out.println(session.getProtocol() + " " + session.getCipherSuite()
                + " ems=" + usesExtendedMasterSecret(session)
                + " resumed=" + (before != null && session.getCreationTime() == before.getCreationTime())
                + " intact=" + Arrays.equals(payload, back.toByteArray()));
            return session;
        } catch (IOException e) {
            System.out.println(suite + " " + e.getMessage());
            return null;
        }
    }

    /** Java tells it in no other way; this needs --add-opens java.base/sun.security.ssl=ALL-UNNAMED. */
    private static boolean usesExtendedMasterSecret(SSLSession session) throws ReflectiveOperationException {
        Field field = session.getClass().getDeclaredField("useExtendedMasterSecret");
        field.setAccessible(true);
        return field.getBoolean(session);
    }
}
