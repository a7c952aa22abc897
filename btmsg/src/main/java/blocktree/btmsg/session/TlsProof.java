package blocktree.btmsg.session;

import blocktree.crypto.CryptoException;
import blocktree.crypto.Hash;
import blocktree.crypto.TaggedHash;
import io.netty.channel.ChannelHandlerContext;
import io.netty.channel.ChannelInboundHandlerAdapter;
import io.netty.handler.ssl.SslHandler;
import io.netty.handler.ssl.SslHandshakeCompletionEvent;
import java.security.cert.Certificate;
import java.security.cert.X509Certificate;
import javax.net.ssl.SSLPeerUnverifiedException;

/** Makes of the end of a TLS handshake what {@link Transport} promises. */
final class TlsProof extends ChannelInboundHandlerAdapter {

    /**
     * Fired in place of a proof when the other side is no node and asks to become one.
     *
     * @param keyInfo SHA-256 of the SubjectPublicKeyInfo in the certificate that was shown to it
     */
    record Joiner(Hash keyInfo) {}

    private final SslHandler tls;

    TlsProof(SslHandler tls) {
        this.tls = tls;
    }

    @Override
    public void userEventTriggered(ChannelHandlerContext context, Object event)
            throws CryptoException, ProtocolViolation, SSLPeerUnverifiedException {
        if (!(event instanceof SslHandshakeCompletionEvent handshake)) {
            context.fireUserEventTriggered(event);
        } else if (!handshake.isSuccess()) {
            context.fireExceptionCaught(handshake.cause());
        } else if (Credentials.JOIN_PROTOCOL.equals(tls.applicationProtocol())) {
            Certificate own = tls.engine().getSession().getLocalCertificates()[0];
            byte[] keyInfo = own.getPublicKey().getEncoded();
            context.fireUserEventTriggered(
                    new Joiner(Hash.of(TaggedHash.sha256().digest(keyInfo))));
        } else if (!Credentials.PROTOCOL.equals(tls.applicationProtocol())) {
            throw new ProtocolViolation("does not name the protocol " + Credentials.PROTOCOL);
        } else {
            // The trust manager has proven it; where none was asked for and none was shown, this throws.
            X509Certificate shown = (X509Certificate) tls.engine().getSession().getPeerCertificates()[0];
            context.fireUserEventTriggered(NodeCertificate.read(shown));
        }
    }
}
