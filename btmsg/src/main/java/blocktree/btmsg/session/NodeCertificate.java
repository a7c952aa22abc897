package blocktree.btmsg.session;

import blocktree.crypto.CryptoException;
import blocktree.crypto.Identity;
import blocktree.crypto.NodeProof;
import blocktree.crypto.WriteCapabilityChain;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.math.BigInteger;
import java.security.GeneralSecurityException;
import java.security.KeyPair;
import java.security.KeyPairGenerator;
import java.security.PrivateKey;
import java.security.SecureRandom;
import java.security.cert.CertificateFactory;
import java.security.cert.X509Certificate;
import java.security.spec.ECGenParameterSpec;
import java.util.Arrays;
import java.util.Date;
import java.util.HexFormat;
import java.util.Set;
import org.bouncycastle.asn1.ASN1ObjectIdentifier;
import org.bouncycastle.asn1.ASN1OctetString;
import org.bouncycastle.asn1.x500.X500Name;
import org.bouncycastle.asn1.x509.SubjectPublicKeyInfo;
import org.bouncycastle.cert.X509v3CertificateBuilder;
import org.bouncycastle.operator.OperatorCreationException;
import org.bouncycastle.operator.jcajce.JcaContentSignerBuilder;

/**
 * A P-256 key and the certificate that signs itself and proves with one critical extension whose key it is (docs/messages.md, "Who is
 * there"). Never on disk.
 */
record NodeCertificate(PrivateKey key, X509Certificate certificate) {

    /** docs/format.md, section 2.3. */
    static final String EXTENSION = "2.25.271837387199808716098163782432597312576";

    /** Above the longest proof, and below the 32 KiB that the JDK takes as one message of a handshake. */
    static final int SIZE_BYTES_MAX = 20 << 10;

    private static final String SIGNATURE_ALGORITHM = "SHA256withECDSA";

    /** What the DER form of every uncompressed P-256 key begins with; 64 bytes of the point follow. */
    private static final byte[] P256_HEAD =
            HexFormat.of().parseHex("3059301306072a8648ce3d020106082a8648ce3d03010703420004");

    private static final int P256_SIZE_BYTES = P256_HEAD.length + 64;

    /** Holds from now for as long as a statement may. */
    static NodeCertificate create(Identity node, WriteCapabilityChain chain, long nowMillis) {
        KeyPair pair = newKeyPair();
        NodeProof proof = NodeProof.create(
                node, chain, pair.getPublic().getEncoded(), nowMillis, nowMillis + NodeProof.LIFE_MILLIS_MAX);
        return of(pair, proof);
    }

    static KeyPair newKeyPair() {
        try {
            KeyPairGenerator generator = KeyPairGenerator.getInstance("EC");
            generator.initialize(new ECGenParameterSpec("secp256r1"));
            return generator.generateKeyPair();
        } catch (GeneralSecurityException e) {
            throw new IllegalStateException("this Java has no P-256", e);
        }
    }

    static NodeCertificate of(KeyPair pair, NodeProof proof) {
        try {
            X509v3CertificateBuilder builder = builder(pair, proof.notBeforeMillis(), proof.notAfterMillis())
                    .addExtension(new ASN1ObjectIdentifier(EXTENSION), true, proof.toBytes());
            return new NodeCertificate(pair.getPrivate(), sign(builder, pair));
        } catch (IOException e) {
            throw new IllegalStateException("a certificate was not made", e);
        }
    }

    static X509v3CertificateBuilder builder(KeyPair pair, long notBeforeMillis, long notAfterMillis) {
        X500Name name = new X500Name("CN=blocktree node");
        return new X509v3CertificateBuilder(
                name,
                new BigInteger(64, new SecureRandom()).setBit(64),
                new Date(notBeforeMillis),
                new Date(notAfterMillis),
                name,
                SubjectPublicKeyInfo.getInstance(pair.getPublic().getEncoded()));
    }

    static X509Certificate sign(X509v3CertificateBuilder builder, KeyPair pair) {
        try {
            byte[] encoded = builder.build(new JcaContentSignerBuilder(SIGNATURE_ALGORITHM).build(pair.getPrivate()))
                    .getEncoded();
            return (X509Certificate)
                    CertificateFactory.getInstance("X.509").generateCertificate(new ByteArrayInputStream(encoded));
        } catch (OperatorCreationException | IOException | GeneralSecurityException e) {
            throw new IllegalStateException("a certificate was not signed", e);
        }
    }

    /**
     * The proof of a peer, from what it has shown, after which its principal is proven; that it may talk to this node is for
     * {@link Admission} to say. Throws a CryptoException for whatever makes the peer a stranger.
     */
    static NodeProof prove(X509Certificate[] shown) throws CryptoException {
        if (shown.length != 1) {
            throw malformed(shown.length + " certificates, not one");
        }
        X509Certificate certificate = shown[0];
        byte[] keyInfo = certificate.getPublicKey().getEncoded();
        if (keyInfo.length != P256_SIZE_BYTES
                || !Arrays.equals(keyInfo, 0, P256_HEAD.length, P256_HEAD, 0, P256_HEAD.length)) {
            throw malformed("the certificate's key is not of P-256");
        }
        NodeProof proof = read(certificate);
        try {
            if (!SIGNATURE_ALGORITHM.equals(certificate.getSigAlgName())) {
                throw malformed("certificate signed with " + certificate.getSigAlgName());
            }
            certificate.verify(certificate.getPublicKey());
        } catch (GeneralSecurityException e) {
            throw new CryptoException(CryptoException.Code.BAD_SIGNATURE, "the certificate does not sign itself", e);
        }
        proof.verify(keyInfo);
        return proof;
    }

    /** The claim in a certificate; nothing but its form is checked. */
    static NodeProof read(X509Certificate certificate) throws CryptoException {
        try {
            int sizeBytes = certificate.getEncoded().length;
            if (sizeBytes > SIZE_BYTES_MAX) {
                throw malformed("certificate of " + sizeBytes + " bytes, more than " + SIZE_BYTES_MAX);
            }
        } catch (GeneralSecurityException e) {
            throw new CryptoException(CryptoException.Code.MALFORMED, "the certificate has no encoding", e);
        }
        Set<String> critical = certificate.getCriticalExtensionOIDs();
        if (critical == null || !critical.equals(Set.of(EXTENSION))) {
            throw malformed("the certificate's critical extensions are " + critical + ", not a node's");
        }
        byte[] value = certificate.getExtensionValue(EXTENSION);
        try {
            return NodeProof.parse(ASN1OctetString.getInstance(value).getOctets());
        } catch (IllegalArgumentException e) {
            throw new CryptoException(CryptoException.Code.MALFORMED, "the extension holds no bytes", e);
        }
    }

    private static CryptoException malformed(String what) {
        return new CryptoException(CryptoException.Code.MALFORMED, what);
    }
}
