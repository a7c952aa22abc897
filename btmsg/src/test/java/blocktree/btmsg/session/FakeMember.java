package blocktree.btmsg.session;

import blocktree.btmsg.session.SessionProto.Frame;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.security.KeyStore;
import java.security.cert.Certificate;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import javax.net.ssl.KeyManager;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLParameters;
import javax.net.ssl.SSLServerSocket;
import javax.net.ssl.SSLSocket;
import javax.net.ssl.TrustManager;
import org.jspecify.annotations.Nullable;

/** Answers joiners with some certificate, and then does as its script says. */
final class FakeMember implements AutoCloseable {

    interface Script {
        void run(SSLSocket joiner) throws Exception;
    }

    final InetSocketAddress address;

    /** Whatever was still to be read of each connection once its script was done. */
    final BlockingQueue<byte[]> unread = new LinkedBlockingQueue<>();

    private final SSLServerSocket server;

    FakeMember(NodeCertificate shown, Script script) throws Exception {
        server = (SSLServerSocket)
                context(shown).getServerSocketFactory().createServerSocket(0, 50, InetAddress.getByName("127.0.0.1"));
        address = new InetSocketAddress(server.getInetAddress(), server.getLocalPort());
        Thread thread = new Thread(() -> serve(script), "fake-member");
        thread.setDaemon(true);
        thread.start();
    }

    private void serve(Script script) {
        while (!server.isClosed()) {
            try (SSLSocket joiner = (SSLSocket) server.accept()) {
                setProtocol(joiner);
                joiner.setSoTimeout(20_000);
                joiner.startHandshake();
                ByteArrayOutputStream rest = new ByteArrayOutputStream();
                try {
                    script.run(joiner);
                    joiner.getInputStream().transferTo(rest);
                } finally {
                    unread.add(rest.toByteArray());
                }
            } catch (Exception e) {
                // the joiner's side says what has happened
            }
        }
    }

    static void setProtocol(SSLSocket socket) {
        SSLParameters parameters = socket.getSSLParameters();
        parameters.setApplicationProtocols(new String[] {Credentials.JOIN_PROTOCOL});
        socket.setSSLParameters(parameters);
    }

    /** Somebody who shows {@code own}, or nothing. */
    static SSLContext context(@Nullable NodeCertificate own) throws Exception {
        KeyManager[] managers = null;
        if (own != null) {
            KeyStore keys = KeyStore.getInstance("PKCS12");
            keys.load(null, null);
            keys.setKeyEntry("node", own.key(), new char[0], new Certificate[] {own.certificate()});
            KeyManagerFactory factory = KeyManagerFactory.getInstance("PKIX");
            factory.init(keys, new char[0]);
            managers = factory.getKeyManagers();
        }
        SSLContext context = SSLContext.getInstance("TLSv1.3");
        context.init(managers, new TrustManager[] {new NodeTrustManager()}, null);
        return context;
    }

    static void send(Socket socket, Frame frame) throws IOException {
        frame.writeDelimitedTo(socket.getOutputStream());
        socket.getOutputStream().flush();
    }

    static void send(Socket socket, JoinProto.Join.Builder step) throws IOException {
        send(socket, Frame.newBuilder().setJoin(step).build());
    }

    static JoinProto.Join receive(Socket socket) throws Exception {
        return HostileTest.receive(socket).getJoin();
    }

    @Override
    public void close() throws IOException {
        server.close();
    }
}
