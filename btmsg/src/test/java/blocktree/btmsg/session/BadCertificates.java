package blocktree.btmsg.session;

import blocktree.crypto.Identity;
import blocktree.crypto.NodeProof;
import blocktree.crypto.WriteCapabilityChain;
import java.security.KeyPair;
import java.security.KeyPairGenerator;
import java.security.PrivateKey;
import java.security.cert.X509Certificate;
import java.util.LinkedHashMap;
import java.util.Map;
import org.bouncycastle.asn1.ASN1ObjectIdentifier;
import org.bouncycastle.asn1.x509.BasicConstraints;
import org.bouncycastle.asn1.x509.Extension;
import org.bouncycastle.cert.X509v3CertificateBuilder;

/** What strangers show: each has something wrong, and everything else right. */
final class BadCertificates {

    record Shown(PrivateKey key, X509Certificate... certificates) {}

    private BadCertificates() {}

    /** By what is wrong; all of a node that would be welcome. */
    static Map<String, Shown> all(TestTree tree) throws Exception {
        Identity node = Identity.generate();
        WriteCapabilityChain chain = tree.chain(node);
        long now = System.currentTimeMillis();
        long end = now + NodeProof.LIFE_MILLIS_MAX;
        NodeCertificate good = NodeCertificate.create(node, chain, now);
        KeyPair own = NodeCertificate.newKeyPair();
        ASN1ObjectIdentifier extension = new ASN1ObjectIdentifier(NodeCertificate.EXTENSION);
        byte[] ownProof = NodeProof.create(node, chain, own.getPublic().getEncoded(), now, end)
                .toBytes();

        Map<String, Shown> bad = new LinkedHashMap<>();
        byte[] anotherKey = good.certificate().getPublicKey().getEncoded();
        bad.put(
                "statement over another key",
                shown(own, NodeCertificate.of(own, NodeProof.create(node, chain, anotherKey, now, end))));
        bad.put("no extension", shown(own, builder(own)));
        bad.put("extension not critical", shown(own, builder(own).addExtension(extension, false, ownProof)));
        bad.put(
                "another critical extension",
                shown(
                        own,
                        builder(own)
                                .addExtension(extension, true, ownProof)
                                .addExtension(Extension.basicConstraints, true, new BasicConstraints(true))));
        bad.put("garbage in the extension", shown(own, builder(own).addExtension(extension, true, new byte[777])));
        bad.put("empty extension", shown(own, builder(own).addExtension(extension, true, new byte[0])));
        bad.put(
                "oversized chain",
                shown(own, builder(own).addExtension(extension, true, new byte[NodeProof.SIZE_MAX + 1])));
        bad.put(
                "oversized certificate",
                shown(
                        own,
                        builder(own)
                                .addExtension(extension, true, ownProof)
                                .addExtension(
                                        new ASN1ObjectIdentifier("2.25.1"),
                                        false,
                                        new byte[NodeCertificate.SIZE_BYTES_MAX])));
        bad.put("two certificates", new Shown(good.key(), good.certificate(), NodeCertificate.sign(builder(own), own)));
        KeyPairGenerator rsa = KeyPairGenerator.getInstance("RSA");
        rsa.initialize(2048);
        KeyPair rsaPair = rsa.generateKeyPair();
        bad.put("another kind of key", shown(rsaPair, rsaCertificate(rsaPair, node, chain)));
        X509v3CertificateBuilder notBySelf = builder(own).addExtension(extension, true, ownProof);
        bad.put(
                "signed by another key",
                new Shown(own.getPrivate(), NodeCertificate.sign(notBySelf, NodeCertificate.newKeyPair())));
        return bad;
    }

    private static X509Certificate rsaCertificate(KeyPair pair, Identity node, WriteCapabilityChain chain)
            throws Exception {
        long now = System.currentTimeMillis();
        byte[] proof = NodeProof.create(
                        node, chain, pair.getPublic().getEncoded(), now, now + NodeProof.LIFE_MILLIS_MAX)
                .toBytes();
        X509v3CertificateBuilder builder =
                builder(pair).addExtension(new ASN1ObjectIdentifier(NodeCertificate.EXTENSION), true, proof);
        byte[] encoded = builder.build(new org.bouncycastle.operator.jcajce.JcaContentSignerBuilder("SHA256withRSA")
                        .build(pair.getPrivate()))
                .getEncoded();
        return (X509Certificate) java.security.cert.CertificateFactory.getInstance("X.509")
                .generateCertificate(new java.io.ByteArrayInputStream(encoded));
    }

    private static X509v3CertificateBuilder builder(KeyPair pair) {
        long now = System.currentTimeMillis();
        return NodeCertificate.builder(pair, now, now + NodeProof.LIFE_MILLIS_MAX);
    }

    private static Shown shown(KeyPair pair, X509v3CertificateBuilder builder) {
        return new Shown(pair.getPrivate(), NodeCertificate.sign(builder, pair));
    }

    private static Shown shown(KeyPair pair, NodeCertificate certificate) {
        return new Shown(pair.getPrivate(), certificate.certificate());
    }

    private static Shown shown(KeyPair pair, X509Certificate certificate) {
        return new Shown(pair.getPrivate(), certificate);
    }
}
