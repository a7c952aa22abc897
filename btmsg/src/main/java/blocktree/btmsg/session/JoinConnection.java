package blocktree.btmsg.session;

import blocktree.btmsg.session.JoinException.Code;
import blocktree.btmsg.session.SessionProto.Frame;
import blocktree.crypto.CryptoException;
import blocktree.crypto.NodeProof;
import com.google.protobuf.CodedInputStream;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.security.GeneralSecurityException;
import java.security.cert.X509Certificate;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLParameters;
import javax.net.ssl.SSLPeerUnverifiedException;
import javax.net.ssl.SSLSocket;
import javax.net.ssl.TrustManager;
import org.jspecify.annotations.Nullable;

/**
 * A joiner's connection to who may be a member: TLS of the JDK, on blocking sockets, since a machine joins once. Who answers has
 * proven to be some node before the first word. Not thread-safe.
 */
final class JoinConnection implements AutoCloseable {
    private final Socket tcp = new Socket();
    private final InetSocketAddress address;
    private final long millis;
    private @Nullable SSLSocket tls;
    private volatile long endNanos;
    private volatile boolean late;

    /** Says and sends nothing yet. */
    private JoinConnection(InetSocketAddress address, long millis) {
        this.address = address;
        this.millis = millis;
    }

    /**
     * @param address resolved
     * @param millis until all that follows has to be over, unless {@link #allow} gives more
     */
    static JoinConnection open(InetSocketAddress address, long millis) throws JoinException {
        JoinConnection connection = new JoinConnection(address, millis);
        connection.allow(millis);
        try {
            connection.connect();
            return connection;
        } catch (IOException e) {
            connection.close();
            throw connection.failure(e);
        }
    }

    private void connect() throws IOException {
        tcp.connect(address, (int) millis);
        tcp.setTcpNoDelay(true);
        // A context of its own: no TLS session of another connection is resumed.
        SSLSocket socket = (SSLSocket) newContext()
                .getSocketFactory()
                .createSocket(tcp, address.getAddress().getHostAddress(), address.getPort(), true);
        SSLParameters parameters = socket.getSSLParameters();
        parameters.setProtocols(new String[] {"TLSv1.3"});
        parameters.setApplicationProtocols(new String[] {Credentials.JOIN_PROTOCOL});
        socket.setSSLParameters(parameters);
        socket.startHandshake();
        tls = socket;
    }

    private static SSLContext newContext() {
        try {
            SSLContext context = SSLContext.getInstance("TLSv1.3");
            context.init(null, new TrustManager[] {new NodeTrustManager()}, null);
            return context;
        } catch (GeneralSecurityException e) {
            throw new IllegalStateException("this Java has no TLS 1.3", e);
        }
    }

    /** Gives that much time from now on; then the connection is closed, whatever it is at. */
    void allow(long moreMillis) {
        endNanos = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(moreMillis);
        CompletableFuture.delayedExecutor(moreMillis, TimeUnit.MILLISECONDS).execute(this::closeIfLate);
    }

    private void closeIfLate() {
        if (System.nanoTime() - endNanos >= 0) {
            late = true;
            closeTcp(); // not that of TLS, which may wait for a lock
        }
    }

    private SSLSocket tls() {
        if (tls == null) {
            throw new IllegalStateException("not connected");
        }
        return tls;
    }

    /** Whose certificate it was, over which key: proven in the handshake. */
    NodeProof proof() throws JoinException {
        try {
            return NodeCertificate.read((X509Certificate) tls().getSession().getPeerCertificates()[0]);
        } catch (CryptoException | SSLPeerUnverifiedException e) {
            throw badAnswer(e.getMessage());
        }
    }

    /** Whether the other side hears those who are no nodes. */
    boolean isHeard() {
        return Credentials.JOIN_PROTOCOL.equals(tls().getApplicationProtocol());
    }

    void send(JoinProto.Join.Builder step) throws JoinException {
        try {
            OutputStream out = tls().getOutputStream();
            Frame.newBuilder().setJoin(step).build().writeDelimitedTo(out);
            out.flush();
        } catch (IOException e) {
            throw failure(e);
        }
    }

    /** The next word; what the other side refuses comes as an exception. */
    JoinProto.Join receive(int sizeBytesMax) throws JoinException {
        try {
            InputStream in = tls().getInputStream();
            int first = in.read();
            if (first < 0) {
                throw new EOFException("the connection was closed");
            }
            int length = CodedInputStream.readRawVarint32(first, in);
            if (length < 0 || length > sizeBytesMax) {
                throw new ProtocolViolation("frame of " + length + " bytes, more than " + sizeBytesMax);
            }
            byte[] frame = in.readNBytes(length);
            if (frame.length < length) {
                throw new EOFException("the connection was closed");
            }
            JoinProto.Join step = FrameReader.parse(frame).getJoin();
            if (step.hasRefusal()) {
                throw new JoinException(
                        Code.of(step.getRefusal().getCode()),
                        printable(FrameReader.cut(step.getRefusal().getText())));
            }
            return step;
        } catch (JoinException e) {
            throw e;
        } catch (ProtocolViolation e) {
            throw badAnswer(e.getMessage());
        } catch (IOException e) {
            throw failure(e);
        }
    }

    /** A stranger's text on somebody's terminal. */
    private static String printable(String text) {
        return text.replaceAll("\\p{Cntrl}", "?");
    }

    JoinException badAnswer(@Nullable String reason) {
        return new JoinException(Code.BAD_ANSWER, address + " does not answer as a member does: " + reason);
    }

    private JoinException failure(IOException e) {
        String reason = late ? "not done in time" : Greeting.deepest(e);
        return new JoinException(Code.UNREACHABLE, address + ": " + reason, e);
    }

    private void closeTcp() {
        try {
            tcp.close();
        } catch (IOException e) {
            // closed is all that it is to be
        }
    }

    @Override
    public void close() {
        closeTcp();
    }
}
