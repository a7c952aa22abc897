package blocktree.crypto;

import static blocktree.crypto.Fixtures.bytes;
import static blocktree.crypto.Fixtures.identity;
import static blocktree.crypto.Fixtures.secret;
import static java.nio.charset.StandardCharsets.US_ASCII;
import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.security.MessageDigest;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import javax.crypto.Cipher;
import javax.crypto.Mac;
import javax.crypto.spec.GCMParameterSpec;
import javax.crypto.spec.SecretKeySpec;
import org.junit.jupiter.api.Test;

/**
 * Holds docs/format.md, sections 1, 2 and 3.3, and this module to the byte: from fixed seeds each structure is made again and compared
 * with the stored vector. What has a random nonce is computed here a second time, straight from the document and the JCA, under the
 * nonce of the vector; the module must open it. A file is written anew only with {@code -Dvectors.write=DIRECTORY}: a difference is a
 * change of format.
 */
class VectorsTest {

    private static final HexFormat HEX = HexFormat.of();

    private final Identity root = identity(1);
    private final Identity alice = identity(2);
    private final GenesisRecord genesis = GenesisRecord.create(List.of(root), 1_700_000_000_000L, bytes(0x11, 32));
    private final TreeId tree = genesis.tree();
    private final DomainRecord.Draft draft = DomainRecord.draft(tree, null, root.id(), bytes(0x12, 32));
    private final DomainId domain = draft.domain();
    private final BlockId block = BlockId.derive(tree, domain, alice.id(), bytes(0x13, 32));
    private final byte[] nonce = HEX.parseHex("000102030405060708090a0b");

    @Test
    void hashesAndDerivations() throws Exception {
        byte[] tagged =
                TaggedHash.of("header").add(bytes(1, 3)).addU32(7).addU64(9).digest();
        assertArrayEquals(
                sha256(join(
                        "blocktree/v1/header\0".getBytes(US_ASCII),
                        u32(3),
                        bytes(1, 3),
                        u32(4),
                        u32(7),
                        u32(8),
                        ByteBuffer.allocate(8).putLong(9).array())),
                tagged);
        Map<String, String> vector = new LinkedHashMap<>();
        put(vector, "H(header, 010101, u32 7, u64 9)", tagged);
        put(vector, "seeds of alice", bytes(2, 64));
        put(vector, "principal keys of alice", alice.keys().toBytes());
        put(vector, "principal id of alice", alice.id().toBytes());
        vector.put("fingerprint of alice", Fingerprint.of(alice.id()));
        vector.put("fingerprint of tree", Fingerprint.of(tree));
        put(vector, "anchor secret of alice", alice.deriveSecret("anchor").reveal());
        put(vector, "block id", block.toBytes());
        assertArrayEquals(
                hkdf(bytes(2, 64), new byte[0], "blocktree/v1/anchor".getBytes(US_ASCII)),
                alice.deriveSecret("anchor").reveal());
        compare("hashes", vector);
    }

    /** RFC 5869, test cases 1 and 3. */
    @Test
    void hkdfOfTheRfc() {
        assertArrayEquals(
                HEX.parseHex("3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"),
                Hkdf.derive(
                        bytes(0x0b, 22),
                        HEX.parseHex("000102030405060708090a0b0c"),
                        HEX.parseHex("f0f1f2f3f4f5f6f7f8f9"),
                        42));
        assertArrayEquals(
                HEX.parseHex("8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"),
                Hkdf.derive(bytes(0x0b, 22), new byte[0], new byte[0], 42));
    }

    /** RFC 8032, section 7.1, test 1: an empty message under a known seed; the prefix of a kind keeps ours apart from it. */
    @Test
    void theSigningKeyIsThatOfTheRfc() throws Exception {
        byte[] seeds =
                Arrays.copyOf(HEX.parseHex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"), 64);
        CryptoProto.PrincipalKeys keys = CryptoProto.PrincipalKeys.parseFrom(
                Identity.fromSeeds(SecretBytes.takeOver(seeds)).keys().toBytes());
        assertEquals(
                "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
                HEX.formatHex(keys.getSigningKey().toByteArray()));
    }

    /** The first test vector of draft-connolly-cfrg-xwing-kem: beginning (ML-KEM) and last 32 bytes (X25519) of the public key. */
    @Test
    void theEncapsulationKeyIsThatOfTheXWingDraft() throws Exception {
        byte[] seeds =
                join(bytes(1, 32), HEX.parseHex("7f9c2ba4e88f827d616045507605853ed73b8093f6efbc88eb1a6eacfa66ef26"));
        byte[] key = CryptoProto.PrincipalKeys.parseFrom(
                        Identity.fromSeeds(SecretBytes.takeOver(seeds)).keys().toBytes())
                .getKemKey()
                .toByteArray();
        assertEquals(
                "e2236b35a8c24b39b10aa1323a96a919a2ced88400633a7b07131713fc14b2b5b19cfc3da5fa1a92",
                HEX.formatHex(key, 0, 40));
        assertEquals(
                "859edb06eff389b27dce59844570216223593d4ba32d9abac8cd049040ef6534", HEX.formatHex(key, 1184, 1216));
    }

    @Test
    void envelopes() throws Exception {
        Map<String, String> vector = new LinkedHashMap<>();
        for (SignatureKind kind : SignatureKind.values()) {
            SignedEnvelope envelope = alice.sign(kind, "body".getBytes(US_ASCII));
            put(vector, kind.label(), envelope.toBytes());
            put(vector, kind.label() + " id", envelope.id(kind).toBytes());
        }
        compare("envelopes", vector);
        for (SignatureKind kind : SignatureKind.values()) {
            SignedEnvelope.parse(stored("envelopes", kind.label())).verify(kind, alice.keys());
        }
    }

    @Test
    void genesisAndRotation() throws Exception {
        RotationRecord rotation =
                RotationRecord.create(root, tree, 1, Hash.of(tree.toBytes()), List.of(alice), 1_800_000_000_000L);
        Map<String, String> vector = new LinkedHashMap<>();
        put(vector, "genesis record", genesis.toBytes());
        put(vector, "tree id", tree.toBytes());
        put(vector, "rotation record", rotation.toBytes());
        put(vector, "rotation id", rotation.envelopeId().toBytes());
        compare("genesis", vector);
        assertEquals(
                tree, GenesisRecord.parse(stored("genesis", "genesis record")).tree());
        assertEquals(
                List.of(alice.keys()),
                RotationRecord.parse(stored("genesis", "rotation record")).roots());
    }

    @Test
    void domains() throws Exception {
        DomainRecord.Draft childDraft = DomainRecord.draft(tree, domain, alice.id(), bytes(0x14, 32));
        DomainRecord top = DomainRecord.create(root, tree, null, draft, false, block);
        DomainRecord child = DomainRecord.create(alice, tree, domain, childDraft, true, block);
        Map<String, String> vector = new LinkedHashMap<>();
        put(vector, "root domain record", top.toBytes());
        put(vector, "root domain id", domain.toBytes());
        put(vector, "child domain record", child.toBytes());
        put(vector, "child domain id", child.domain().toBytes());
        compare("domains", vector);
        assertEquals(child, DomainRecord.parse(stored("domains", "child domain record")));
        assertEquals(top, DomainRecord.parse(stored("domains", "root domain record")));
    }

    @Test
    void writeCapabilities() throws Exception {
        Identity bob = identity(3);
        WriteCapability toAlice = WriteCapability.issue(
                root,
                tree,
                domain,
                alice.keys(),
                Rights.ALL,
                1_700_000_000_000L,
                WriteCapability.NO_END,
                bytes(0x15, 16));
        WriteCapability toBob = WriteCapability.issue(
                alice, tree, domain, bob.keys(), Rights.WRITE, 1_700_000_000_000L, 1_800_000_000_000L, bytes(0x16, 16));
        WriteCapabilityChain chain = WriteCapabilityChain.of(List.of(toAlice, toBob));
        Revocation revocation = Revocation.create(alice, tree, toBob.envelopeId(), 1_750_000_000_000L);
        Map<String, String> vector = new LinkedHashMap<>();
        put(vector, "chain", chain.toBytes());
        put(vector, "chain id", chain.id().toBytes());
        put(vector, "second link id", toBob.envelopeId().toBytes());
        put(vector, "revocation", revocation.toBytes());
        compare("writecaps", vector);
        assertEquals(
                chain.links(),
                WriteCapabilityChain.parse(stored("writecaps", "chain")).links());
        assertEquals(revocation, Revocation.parse(stored("writecaps", "revocation")));
    }

    @Test
    void nodeProof() throws Exception {
        WriteCapability toAlice = WriteCapability.issue(
                root,
                tree,
                domain,
                alice.keys(),
                Rights.NODE,
                1_700_000_000_000L,
                WriteCapability.NO_END,
                bytes(0x18, 16));
        NodeProof proof = NodeProof.create(
                alice,
                WriteCapabilityChain.of(List.of(toAlice)),
                bytes(0x19, 91),
                1_700_000_000_000L,
                1_702_592_000_000L);
        Map<String, String> vector = new LinkedHashMap<>();
        put(vector, "key info", bytes(0x19, 91));
        put(vector, "statement", proof.statement().toBytes());
        put(vector, "node proof", proof.toBytes());
        compare("node-proof", vector);
        NodeProof read = NodeProof.parse(stored("node-proof", "node proof"));
        read.verify(bytes(0x19, 91));
        assertEquals(HEX.formatHex(sha256(bytes(0x19, 91))), read.keyInfoHash().toHex());
    }

    @Test
    void nodeRecord() throws Exception {
        NodeRecord record = NodeRecord.create(
                alice,
                tree,
                300,
                "nas-2.attic",
                List.of(
                        InetSocketAddress.createUnresolved("192.0.2.7", 7450),
                        InetSocketAddress.createUnresolved("2001:db8::7", 443),
                        InetSocketAddress.createUnresolved("nas.example", 7451)));
        byte[] body = join(
                HEX.parseHex("080110011a20"),
                tree.toBytes(),
                HEX.parseHex("20ac022a0b"),
                "nas-2.attic".getBytes(US_ASCII),
                HEX.parseHex("320e0a09"),
                "192.0.2.7".getBytes(US_ASCII),
                HEX.parseHex("109a3a"),
                HEX.parseHex("32100a0b"),
                "2001:db8::7".getBytes(US_ASCII),
                HEX.parseHex("10bb03"),
                HEX.parseHex("32100a0b"),
                "nas.example".getBytes(US_ASCII),
                HEX.parseHex("109b3a"));
        assertArrayEquals(body, record.envelope().body());
        Map<String, String> vector = new LinkedHashMap<>();
        put(vector, "body", body);
        put(vector, "node record", record.toBytes());
        put(
                vector,
                "node record without addresses",
                NodeRecord.create(alice, tree, 1, "laptop", List.of()).toBytes());
        compare("node-record", vector);
        NodeRecord read = NodeRecord.parse(stored("node-record", "node record"));
        assertEquals(record, read);
        read.envelope().verify(SignatureKind.NODE, alice.keys());
    }

    @Test
    void invitations() throws Exception {
        InvitationSecret secret = InvitationSecret.takeOver(bytes(0x1a, 16));
        Invitation invitation = Invitation.create(
                secret,
                tree,
                List.of(
                        new InetSocketAddress(InetAddress.getByAddress(new byte[] {(byte) 192, 0, 2, 7}), 7450),
                        new InetSocketAddress("2001:db8::7", 7450),
                        InetSocketAddress.createUnresolved("nas.example", 7451)),
                1_700_000_000_000L);
        byte[] body = join(
                new byte[] {1, 84},
                bytes(0x1a, 16),
                Arrays.copyOf(tree.toBytes(), 16),
                u32(1_700_000_000),
                new byte[] {3},
                HEX.parseHex("04c00002071d1a"),
                HEX.parseHex("0620010db80000000000000000000000071d1a"),
                new byte[] {0, 11},
                "nas.example".getBytes(US_ASCII),
                HEX.parseHex("1d1b"));
        byte[] check = sha256(join("blocktree/v1/invitation\0".getBytes(US_ASCII), u32(body.length), body));
        byte[] encoded = join(body, Arrays.copyOf(check, 4));
        assertEquals(84, encoded.length);
        assertEquals(Base32.encode(encoded), invitation.toCode().replace("-", ""));

        byte[] idHash = sha256(join("blocktree/v1/invitation-id\0".getBytes(US_ASCII), u32(16), bytes(0x1a, 16)));
        assertEquals(HEX.formatHex(idHash, 0, 16), secret.id());
        byte[] binding = sha256(join(
                "blocktree/v1/join\0".getBytes(US_ASCII),
                u32(32),
                tree.toBytes(),
                u32(32),
                bytes(0x1b, 32),
                u32(16),
                Arrays.copyOf(idHash, 16),
                u32(32),
                bytes(0x1c, 32),
                u32(32),
                bytes(0x1d, 32)));
        Hash bound = secret.bind(tree, Hash.of(bytes(0x1b, 32)), bytes(0x1c, 32), bytes(0x1d, 32));
        assertArrayEquals(binding, bound.toBytes());
        JoinStatement statement = JoinStatement.create(alice, bound);
        byte[] statementId = statement.id().toBytes();
        byte[] membersProof = hmac(bytes(0x1a, 16), join("blocktree/v1/join/member\0".getBytes(US_ASCII), binding));
        byte[] joinersProof = hmac(bytes(0x1a, 16), join("blocktree/v1/join/joiner\0".getBytes(US_ASCII), statementId));
        assertArrayEquals(membersProof, secret.prove(InvitationSecret.Side.MEMBER, bound));
        assertArrayEquals(joinersProof, secret.prove(InvitationSecret.Side.JOINER, statement.id()));

        Map<String, String> vector = new LinkedHashMap<>();
        put(vector, "invitation", encoded);
        vector.put("code", invitation.toCode());
        vector.put("invitation id", secret.id());
        put(vector, "binding", binding);
        put(vector, "member's proof", membersProof);
        put(vector, "statement", statement.toBytes());
        put(vector, "statement id", statementId);
        put(vector, "joiner's proof", joinersProof);
        compare("invitation", vector);
        assertEquals(
                statement.keys(),
                JoinStatement.parse(stored("invitation", "statement")).keys());
    }

    @Test
    void readCapability() throws Exception {
        DomainKey key = domainKey(domain, 1, 0x21);
        ReadCapability readcap = ReadCapability.issue(root, key, alice.keys(), bytes(0x17, 64));
        Map<String, String> vector = new LinkedHashMap<>();
        put(vector, "domain key", bytes(0x21, 32));
        put(vector, "encapsulation seed", bytes(0x17, 64));
        put(vector, "readcap", readcap.toBytes());
        compare("readcap", vector);
        assertEquals(
                key.secret(),
                ReadCapability.parse(stored("readcap", "readcap")).open(alice).secret());
    }

    @Test
    void epochsAndSealedKeys() throws Exception {
        DomainKey first = domainKey(domain, 1, 0x21);
        DomainKey second = domainKey(domain, 2, 0x22);
        DomainId childId = DomainId.of(bytes(0x31, 32));
        DomainKey child = domainKey(childId, 5, 0x23);
        BlockKey blockKey = new BlockKey(block, 2, SecretBytes.takeOver(bytes(0x24, 32)));
        byte[] name = "before the move".getBytes(UTF_8);

        byte[] previousSealed = wrap(0x22, 2, domain, "previous-epoch", 1, bytes(0x21, 32));
        byte[] parentSealed = wrap(0x22, 2, childId, "child-domain", 5, bytes(0x23, 32));
        byte[] blockSealed = wrap(0x22, 2, block, "block-key", 2, bytes(0x24, 32));
        byte[] nameSealed = wrap(0x22, 2, domain, "name", 0, name);
        assertArrayEquals(
                sha256(join(
                        "blocktree/v1/epoch-commitment\0".getBytes(US_ASCII),
                        u32(32),
                        tree.toBytes(),
                        u32(32),
                        domain.toBytes(),
                        u32(4),
                        u32(2),
                        u32(32),
                        bytes(0x22, 32))),
                second.commitment().toBytes());
        CryptoProto.Epoch.Builder body = CryptoProto.Epoch.newBuilder()
                .setVersion(1)
                .setSuite(1)
                .setTree(Wire.bytes(tree))
                .setDomain(Wire.bytes(domain))
                .setEpoch(1)
                .setMinEpoch(1)
                .setKeyCommitment(Wire.bytes(first.commitment()));
        byte[] firstRecord = EpochRecord.create(root, first, 1, null, null).toBytes();
        assertArrayEquals(
                root.sign(SignatureKind.EPOCH, body.build().toByteArray()).toBytes(), firstRecord);
        byte[] secondRecord = root.sign(
                        SignatureKind.EPOCH,
                        body.setEpoch(2)
                                .setMinEpoch(2)
                                .setKeyCommitment(Wire.bytes(second.commitment()))
                                .setPreviousSealed(Wire.bytes(previousSealed))
                                .build()
                                .toByteArray())
                .toBytes();
        byte[] childRecord = root.sign(
                        SignatureKind.EPOCH,
                        CryptoProto.Epoch.newBuilder()
                                .setVersion(1)
                                .setSuite(1)
                                .setTree(Wire.bytes(tree))
                                .setDomain(Wire.bytes(childId))
                                .setEpoch(1)
                                .setMinEpoch(1)
                                .setKeyCommitment(
                                        Wire.bytes(domainKey(childId, 1, 0x23).commitment()))
                                .setParentEpoch(2)
                                .setParentSealed(Wire.bytes(wrap(0x22, 2, childId, "child-domain", 1, bytes(0x23, 32))))
                                .build()
                                .toByteArray())
                .toBytes();

        Map<String, String> vector = new LinkedHashMap<>();
        put(vector, "key of epoch 1", bytes(0x21, 32));
        put(vector, "key of epoch 2", bytes(0x22, 32));
        put(vector, "commitment of epoch 2", second.commitment().toBytes());
        put(vector, "sealed previous epoch", previousSealed);
        put(vector, "sealed child domain key", parentSealed);
        put(vector, "sealed block key", blockSealed);
        put(vector, "sealed name", nameSealed);
        put(vector, "epoch 1", firstRecord);
        put(vector, "epoch 2", secondRecord);
        put(vector, "epoch 1 of child", childRecord);
        compare("epochs", vector);

        assertEquals(
                first.secret(),
                second.openPrevious(stored("epochs", "sealed previous epoch")).secret());
        assertEquals(
                child.secret(),
                second.openChild(childId, 5, stored("epochs", "sealed child domain key"))
                        .secret());
        assertEquals(
                blockKey.secret(),
                second.openBlockKey(block, 2, stored("epochs", "sealed block key"))
                        .secret());
        assertArrayEquals(name, second.openName(stored("epochs", "sealed name")));
        EpochRecord parsed = EpochRecord.parse(stored("epochs", "epoch 2"));
        assertEquals(
                first.secret(), second.openPrevious(parsed.previousSealed()).secret());
        EpochRecord parsedChild = EpochRecord.parse(stored("epochs", "epoch 1 of child"));
        assertEquals(
                child.secret(),
                second.openChild(childId, 1, parsedChild.parentSealed()).secret());
    }

    @Test
    void sectors() throws Exception {
        byte[] blockKey = bytes(0x24, 32);
        byte[] plaintext = new byte[4096];
        for (int i = 0; i < plaintext.length; i++) {
            plaintext[i] = (byte) (i * 7);
        }
        byte[] subkeyId = bytes(0x41, 16);
        byte[] subkey = hkdf(blockKey, subkeyId, join("blocktree/v1/sector".getBytes(US_ASCII), u32(3)));
        Map<String, String> vector = new LinkedHashMap<>();
        put(vector, "tree", tree.toBytes());
        put(vector, "block", block.toBytes());
        put(vector, "block key of epoch 3", blockKey);
        put(vector, "subkey", subkey);
        SectorCipher cipher = new SectorCipher(tree, alice.id());
        BlockKey key = new BlockKey(block, 3, SecretBytes.copyOf(blockKey));
        for (SectorCipher.Kind kind : SectorCipher.Kind.values()) {
            byte number = (byte) (kind == SectorCipher.Kind.SECTOR ? 1 : 2);
            byte[] place = join(
                    tree.toBytes(),
                    block.toBytes(),
                    new byte[] {number},
                    ByteBuffer.allocate(8).putLong(77).array(),
                    u32(3),
                    u32(1));
            byte[] head = join(new byte[] {1}, u32(3), subkeyId);
            String label = kind == SectorCipher.Kind.SECTOR ? "sector 77" : "attributes of generation 77";
            put(vector, label, join(head, gcm(subkey, nonce, place, plaintext)));
            byte[] vectorBytes = HEX.parseHex(String.valueOf(vector.get(label)));
            byte[] opened = new byte[4096];
            cipher.open(key, kind, 77, vectorBytes, 0, vectorBytes.length, opened, 0);
            assertArrayEquals(plaintext, opened);

            byte[] own = new byte[4096 + SectorCipher.OVERHEAD];
            cipher.seal(key, kind, 77, plaintext, 0, 4096, own, 0);
            byte[] ownSubkey = hkdf(
                    blockKey, Arrays.copyOfRange(own, 5, 21), join("blocktree/v1/sector".getBytes(US_ASCII), u32(3)));
            assertArrayEquals(
                    join(Arrays.copyOf(own, 21), gcm(ownSubkey, Arrays.copyOfRange(own, 21, 33), place, plaintext)),
                    own);
        }
        compare("sectors", vector);
    }

    @Test
    void localValues() throws Exception {
        byte[] place = join("access".getBytes(US_ASCII), new byte[1], block.toBytes());
        byte[] value =
                ByteBuffer.allocate(8).putLong(1_700_000_000_123_456_789L).array();
        Map<String, String> vector = new LinkedHashMap<>();
        put(vector, "tree", tree.toBytes());
        put(vector, "key of the row", place);
        put(vector, "value", value);
        put(vector, "sealed", local(bytes(0x61, 16), place, value));
        compare("local", vector);
        try (LocalCipher cipher = new LocalCipher(tree, alice)) {
            assertArrayEquals(value, cipher.open(place, stored("local", "sealed")));
            byte[] own = cipher.seal(place, value);
            assertArrayEquals(local(Arrays.copyOf(own, 16), place, value), own);
        }
    }

    /** Section 4.3, from the document. */
    private byte[] local(byte[] salt, byte[] place, byte[] value) throws GeneralSecurityException {
        byte[] secret = hkdf(bytes(2, 64), new byte[0], "blocktree/v1/local".getBytes(US_ASCII));
        byte[] key = hkdf(secret, salt, "blocktree/v1/local".getBytes(US_ASCII));
        byte[] aad = sha256(
                join("blocktree/v1/aad/local\0".getBytes(US_ASCII), u32(32), tree.toBytes(), u32(place.length), place));
        return join(salt, Arrays.copyOfRange(gcm(key, new byte[12], aad, value), 12, 12 + value.length + 16));
    }

    @Test
    void keyFiles() throws Exception {
        KeyFile sealed = KeyFile.protect(
                alice, KeyFile.Role.ROOT, tree, secret("correct horse"), KeyFile.Cost.STANDARD, bytes(0x51, 16), nonce);
        KeyFile open = KeyFile.unprotected(alice, KeyFile.Role.NODE, null);
        Map<String, String> vector = new LinkedHashMap<>();
        vector.put("protected, passphrase correct horse", "\n" + new String(sealed.toText(), US_ASCII));
        vector.put("unprotected", "\n" + new String(open.toText(), US_ASCII));
        compare("key-files", vector);
        assertEquals(
                alice.copySeeds(),
                KeyFile.parse(sealed.toText()).unlock(secret("correct horse")).copySeeds());
    }

    private DomainKey domainKey(DomainId of, int epoch, int secret) {
        return DomainKey.of(tree, of, epoch, SecretBytes.takeOver(bytes(secret, 32)));
    }

    /** Section 2.1, from the document. */
    private byte[] wrap(int rawKey, int epoch, Id scope, String kind, int otherEpoch, byte[] plaintext)
            throws GeneralSecurityException {
        byte[] key = hkdf(bytes(rawKey, 32), tree.toBytes(), "blocktree/v1/wrap".getBytes(US_ASCII));
        byte[] aad = sha256(join(
                "blocktree/v1/aad/wrap\0".getBytes(US_ASCII),
                u32(32),
                tree.toBytes(),
                u32(32),
                scope.toBytes(),
                u32(kind.length()),
                kind.getBytes(US_ASCII),
                u32(4),
                u32(epoch),
                u32(4),
                u32(otherEpoch)));
        return gcm(key, nonce, aad, plaintext);
    }

    /** nonce ‖ ciphertext ‖ tag. */
    private static byte[] gcm(byte[] key, byte[] nonce, byte[] aad, byte[] plaintext) throws GeneralSecurityException {
        Cipher cipher = Cipher.getInstance("AES/GCM/NoPadding");
        cipher.init(Cipher.ENCRYPT_MODE, new SecretKeySpec(key, "AES"), new GCMParameterSpec(128, nonce));
        cipher.updateAAD(aad);
        return join(nonce, cipher.doFinal(plaintext));
    }

    /** One block of RFC 5869. */
    private static byte[] hkdf(byte[] ikm, byte[] salt, byte[] info) throws GeneralSecurityException {
        byte[] pseudoRandomKey = hmac(salt.length == 0 ? new byte[32] : salt, ikm);
        return hmac(pseudoRandomKey, join(info, new byte[] {1}));
    }

    private static byte[] hmac(byte[] key, byte[] message) throws GeneralSecurityException {
        Mac mac = Mac.getInstance("HmacSHA256");
        mac.init(new SecretKeySpec(key, "HmacSHA256"));
        return mac.doFinal(message);
    }

    private static byte[] sha256(byte[] message) throws GeneralSecurityException {
        return MessageDigest.getInstance("SHA-256").digest(message);
    }

    private static byte[] u32(int value) {
        return ByteBuffer.allocate(4).putInt(value).array();
    }

    private static byte[] join(byte[]... parts) {
        ByteArrayOutputStream joined = new ByteArrayOutputStream();
        for (byte[] part : parts) {
            joined.writeBytes(part);
        }
        return joined.toByteArray();
    }

    private static void put(Map<String, String> vector, String name, byte[] value) {
        vector.put(name, HEX.formatHex(value));
    }

    private static void compare(String file, Map<String, String> vector) throws IOException {
        StringBuilder text = new StringBuilder();
        vector.forEach(
                (name, value) -> text.append(name).append(" = ").append(value).append('\n'));
        String directory = System.getProperty("vectors.write");
        if (directory != null) {
            Files.writeString(Path.of(directory, file + ".txt"), text);
        }
        assertEquals(load(file), text.toString());
    }

    private static byte[] stored(String file, String name) throws IOException {
        String start = name + " = ";
        return load(file)
                .lines()
                .filter(line -> line.startsWith(start))
                .map(line -> HEX.parseHex(line.substring(start.length())))
                .findFirst()
                .orElseThrow(() -> new IOException("no vector " + name + " in " + file));
    }

    private static String load(String file) {
        String directory = System.getProperty("vectors.write");
        try (InputStream in = directory == null
                ? VectorsTest.class.getResourceAsStream("/vectors/" + file + ".txt")
                : Files.newInputStream(Path.of(directory, file + ".txt"))) {
            if (in == null) {
                throw new IOException("no resource vectors/" + file + ".txt");
            }
            return new String(in.readAllBytes(), UTF_8);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}
