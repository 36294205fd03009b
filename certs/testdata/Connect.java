import java.io.FileInputStream;
import java.net.InetAddress;
import java.net.Socket;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLException;
import javax.net.ssl.SSLParameters;
import javax.net.ssl.SSLSocket;
import javax.net.ssl.TrustManagerFactory;

/** Connect ROOT.pem PORT...: handshakes with each port by several names and versions, trusting the root alone. */
class Connect {
  public static void main(String[] args) throws Exception {
    KeyStore trusted = KeyStore.getInstance(KeyStore.getDefaultType());
    trusted.load(null, null);
    try (FileInputStream in = new FileInputStream(args[0])) {
      trusted.setCertificateEntry("root", CertificateFactory.getInstance("X.509").generateCertificate(in));
    }
    TrustManagerFactory managers = TrustManagerFactory.getInstance("PKIX");
    managers.init(trusted);
    SSLContext context = SSLContext.getInstance("TLS");
    context.init(null, managers.getTrustManagers(), null);

    for (int i = 1; i < args.length; i++) {
      int port = Integer.parseInt(args[i]);
      for (String host : new String[] {"localhost", "127.0.0.1", "127.0.0.2"}) {
        for (String version : new String[] {"TLSv1.2", "TLSv1.3"}) {
          System.out.println(host + " " + version + " " + connect(context, host, port, version));
        }
      }
    }
  }

  /** The server listens on 127.0.0.1 only; host is the name that its certificate is checked for. */
  private static String connect(SSLContext context, String host, int port, String version) throws Exception {
    Socket tcp = new Socket(InetAddress.getByName("127.0.0.1"), port);
    try (SSLSocket socket = (SSLSocket) context.getSocketFactory().createSocket(tcp, host, port, true)) {
      SSLParameters parameters = socket.getSSLParameters();
      parameters.setProtocols(new String[] {version});
      parameters.setEndpointIdentificationAlgorithm("HTTPS");
      socket.setSSLParameters(parameters);
      socket.startHandshake();
      return "ok";
    } catch (SSLException e) {
      return "refused";
    }
  }
}
