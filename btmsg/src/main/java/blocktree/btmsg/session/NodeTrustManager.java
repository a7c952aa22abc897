package blocktree.btmsg.session;

import blocktree.crypto.CryptoException;
import java.net.Socket;
import java.security.cert.CertificateException;
import java.security.cert.X509Certificate;
import javax.net.ssl.SSLEngine;
import javax.net.ssl.X509ExtendedTrustManager;
import org.jspecify.annotations.Nullable;

/**
 * Lets a handshake pass when the other side has proven which principal it is, client or server. Who is proven and yet not welcome is
 * told so in a message, after the handshake.
 */
final class NodeTrustManager extends X509ExtendedTrustManager {

    private static void check(X509Certificate[] shown) throws CertificateException {
        try {
            NodeCertificate.prove(shown);
        } catch (CryptoException | RuntimeException e) {
            throw new CertificateException(e.getMessage(), e);
        }
    }

    @Override
    public void checkClientTrusted(X509Certificate[] shown, String authType, @Nullable SSLEngine engine)
            throws CertificateException {
        check(shown);
    }

    @Override
    public void checkServerTrusted(X509Certificate[] shown, String authType, @Nullable SSLEngine engine)
            throws CertificateException {
        check(shown);
    }

    @Override
    public void checkClientTrusted(X509Certificate[] shown, String authType, @Nullable Socket socket)
            throws CertificateException {
        check(shown);
    }

    @Override
    public void checkServerTrusted(X509Certificate[] shown, String authType, @Nullable Socket socket)
            throws CertificateException {
        check(shown);
    }

    @Override
    public void checkClientTrusted(X509Certificate[] shown, String authType) throws CertificateException {
        check(shown);
    }

    @Override
    public void checkServerTrusted(X509Certificate[] shown, String authType) throws CertificateException {
        check(shown);
    }

    @Override
    public X509Certificate[] getAcceptedIssuers() {
        return new X509Certificate[0];
    }
}
