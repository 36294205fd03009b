import java.io.BufferedReader;
import java.io.FileInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.net.Socket;
import java.security.KeyStore;
import java.security.Principal;
import java.security.PrivateKey;
import java.security.Security;
import java.security.cert.X509Certificate;
import javax.net.ssl.KeyManager;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLSocket;
import javax.net.ssl.X509ExtendedKeyManager;
import javax.net.ssl.X509KeyManager;

/**
 * Connects once for each "PROTOCOL SUITE KEYSTORE" of the arguments after the
 * port and the password of the stores, with the one key of the store whatever
 * the server asks for ("-" is none), sends a line, and prints the line that
 * came back, or why there was none.
 */
public final class ClientCertificate {
    public static void main(String[] args) throws Exception {
        // What Java would not offer by itself is what is to be shown.
        Security.setProperty("jdk.tls.disabledAlgorithms", "");
        int port = Integer.parseInt(args[0]);
        for (int i = 2; i + 2 < args.length; i += 3) {
            SSLContext context = SSLContext.getInstance("TLS");
            context.init(keyManagers(args[i + 2], args[1].toCharArray()), null, null);
            try (SSLSocket socket = (SSLSocket) context.getSocketFactory().createSocket("127.0.0.1", port)) {
                socket.setEnabledProtocols(new String[] {args[i]});
                socket.setEnabledCipherSuites(new String[] {args[i + 1]});
                socket.startHandshake();
                socket.getOutputStream().write("hello\n".getBytes());
                System.out.println(new BufferedReader(new InputStreamReader(socket.getInputStream())).readLine());
            } catch (IOException e) {
                // Later releases of Java 17 put "(handshake_failure) " in front.
                System.out.println(e.getMessage().replaceFirst("^\\(\\w+\\) ", ""));
            }
        }
    }

    private static KeyManager[] keyManagers(String file, char[] password) throws Exception {
        if (file.equals("-")) {
            return new KeyManager[0];
        }
        KeyStore store = KeyStore.getInstance("PKCS12");
        try (InputStream in = new FileInputStream(file)) {
            store.load(in, password);
        }
        KeyManagerFactory factory = KeyManagerFactory.getInstance("SunX509");
        factory.init(store, password);
        return new KeyManager[] {new OnlyKey((X509KeyManager) factory.getKeyManagers()[0], store.aliases().nextElement())};
    }

    /** Java's own would keep back a certificate of an authority that the server does not name. */
    private static final class OnlyKey extends X509ExtendedKeyManager {
        private final X509KeyManager keys;
        private final String alias;

        OnlyKey(X509KeyManager keys, String alias) {
            this.keys = keys;
            this.alias = alias;
        }

        @Override
        public String chooseClientAlias(String[] types, Principal[] issuers, Socket socket) {
            return alias;
        }

        @Override
        public String[] getClientAliases(String type, Principal[] issuers) {
            return new String[] {alias};
        }

        @Override
        public String[] getServerAliases(String type, Principal[] issuers) {
            return null;
        }

        @Override
        public String chooseServerAlias(String type, Principal[] issuers, Socket socket) {
            return null;
        }

        @Override
        public X509Certificate[] getCertificateChain(String alias) {
            return keys.getCertificateChain(alias);
        }

        @Override
        public PrivateKey getPrivateKey(String alias) {
            return keys.getPrivateKey(alias);
        }
    }
}
