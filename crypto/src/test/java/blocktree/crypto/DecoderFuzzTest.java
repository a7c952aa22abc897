package blocktree.crypto;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import com.code_intelligence.jazzer.junit.FuzzTest;
import java.util.Arrays;

/**
 * Hostile bytes for every decoder of this module: each ends with a value or a {@link CryptoException}, never in another way, and a
 * value that was read writes the same bytes. The inputs in {@code DecoderFuzzTestInputs} run in each test run; with
 * {@code JAZZER_FUZZ=1} and {@code -Dtest=DecoderFuzzTest#method} new ones are searched for.
 */
class DecoderFuzzTest {

    private static final Identity ROOT = Fixtures.identity(1);
    private static final Identity ALICE = Fixtures.identity(2);
    private static final GenesisRecord GENESIS =
            GenesisRecord.create(java.util.List.of(ROOT), 1_700_000_000_000L, Fixtures.bytes(0x11, 32));
    private static final BlockId BLOCK = BlockId.of(Fixtures.bytes(3, 32));
    private static final DomainKey DOMAIN_KEY = DomainKey.of(
            GENESIS.tree(), DomainId.of(Fixtures.bytes(4, 32)), 2, SecretBytes.takeOver(Fixtures.bytes(5, 32)));
    private static final SectorCipher CIPHER = new SectorCipher(GENESIS.tree(), ALICE.id());

    private interface Decoder {
        byte[] decodeAndEncode(byte[] input) throws CryptoException;
    }

    private static void hold(byte[] input, Decoder decoder) {
        byte[] given = input.clone();
        try {
            assertArrayEquals(given, decoder.decodeAndEncode(input));
        } catch (CryptoException refused) {
            assertArrayEquals(given, input, "a refused input is left as it was");
        }
    }

    @FuzzTest(maxDuration = "60m")
    void principalKeys(byte[] input) {
        hold(input, bytes -> PrincipalKeys.parse(bytes).toBytes());
    }

    @FuzzTest(maxDuration = "60m")
    void envelope(byte[] input) {
        hold(input, bytes -> {
            SignedEnvelope envelope = SignedEnvelope.parse(bytes);
            try {
                envelope.verify(SignatureKind.COMMIT, ALICE.keys());
            } catch (CryptoException refused) {
                // most are not Alice's
            }
            return envelope.toBytes();
        });
    }

    @FuzzTest(maxDuration = "60m")
    void genesis(byte[] input) {
        hold(input, bytes -> GenesisRecord.parse(bytes).toBytes());
    }

    @FuzzTest(maxDuration = "60m")
    void domain(byte[] input) {
        hold(input, bytes -> DomainRecord.parse(bytes).toBytes());
    }

    @FuzzTest(maxDuration = "60m")
    void epoch(byte[] input) {
        hold(input, bytes -> EpochRecord.parse(bytes).toBytes());
    }

    @FuzzTest(maxDuration = "60m")
    void writeCapability(byte[] input) {
        hold(input, bytes -> WriteCapability.parse(bytes).toBytes());
    }

    @FuzzTest(maxDuration = "60m")
    void chain(byte[] input) {
        hold(input, bytes -> WriteCapabilityChain.parse(bytes).toBytes());
    }

    @FuzzTest(maxDuration = "60m")
    void nodeProof(byte[] input) {
        hold(input, bytes -> {
            NodeProof proof = NodeProof.parse(bytes);
            try {
                proof.verify(bytes);
                proof.checkTimes(1_700_000_000_000L);
            } catch (CryptoException refused) {
                // most are over another key
            }
            return proof.toBytes();
        });
    }

    @FuzzTest(maxDuration = "60m")
    void readCapability(byte[] input) {
        hold(input, bytes -> {
            ReadCapability readcap = ReadCapability.parse(bytes);
            try (DomainKey key = readcap.open(ALICE)) {
                key.commitment();
            } catch (CryptoException refused) {
                // most are not for Alice
            }
            return readcap.toBytes();
        });
    }

    @FuzzTest(maxDuration = "60m")
    void revocation(byte[] input) {
        hold(input, bytes -> Revocation.parse(bytes).toBytes());
    }

    @FuzzTest(maxDuration = "60m")
    void rotation(byte[] input) {
        hold(input, bytes -> RotationRecord.parse(bytes).toBytes());
    }

    @FuzzTest(maxDuration = "60m")
    void nodeRecord(byte[] input) {
        hold(input, bytes -> NodeRecord.parse(bytes).toBytes());
    }

    /** The first byte is the record's kind. */
    @FuzzTest(maxDuration = "60m")
    void authority(byte[] input) {
        hold(input, bytes -> {
            if (bytes.length == 0) {
                throw CryptoException.malformed("empty");
            }
            Authority authority = new Authority(GENESIS.tree());
            authority.apply(RecordKind.GENESIS, GENESIS.toBytes(), 1, 1);
            authority.apply(bytes[0], Arrays.copyOfRange(bytes, 1, bytes.length), 2, 2);
            return bytes;
        });
    }

    /** The armour around the body is for people: what is read writes a text that reads the same, not the same text. */
    @FuzzTest(maxDuration = "60m")
    void keyFile(byte[] input) {
        hold(input, bytes -> {
            KeyFile file = KeyFile.parse(bytes);
            assertArrayEquals(file.toText(), KeyFile.parse(file.toText()).toText());
            if (!file.isProtected()) {
                file.unlock(null).close();
            }
            return bytes;
        });
    }

    @FuzzTest(maxDuration = "60m")
    void fingerprint(byte[] input) {
        String text = new String(input, java.nio.charset.StandardCharsets.UTF_8);
        hold(input, bytes -> {
            TreeId tree = Fingerprint.parseTree(text);
            assertArrayEquals(
                    tree.toBytes(), Fingerprint.parseTree(Fingerprint.of(tree)).toBytes());
            return bytes;
        });
    }

    @FuzzTest(maxDuration = "60m")
    void invitation(byte[] input) {
        String text = new String(input, java.nio.charset.StandardCharsets.UTF_8);
        hold(input, bytes -> {
            try (Invitation read = Invitation.parse(text);
                    Invitation again = Invitation.parse(read.toCode())) {
                assertEquals(read.toCode(), again.toCode());
                assertEquals(read.addresses(), again.addresses());
            }
            return bytes;
        });
    }

    @FuzzTest(maxDuration = "60m")
    void joinStatement(byte[] input) {
        hold(input, bytes -> JoinStatement.parse(bytes).toBytes());
    }

    @FuzzTest(maxDuration = "60m")
    void sector(byte[] input) {
        hold(input, bytes -> {
            byte[] out = new byte[Math.max(0, bytes.length - SectorCipher.OVERHEAD)];
            try (BlockKey key = new BlockKey(BLOCK, 3, SecretBytes.takeOver(Fixtures.bytes(0x24, 32)))) {
                SectorCipher.epochOf(bytes, 0, bytes.length);
                CIPHER.open(key, SectorCipher.Kind.SECTOR, 77, bytes, 0, bytes.length, out, 0);
            }
            return bytes;
        });
    }

    @FuzzTest(maxDuration = "60m")
    void localValue(byte[] input) {
        hold(input, bytes -> {
            try (LocalCipher cipher = new LocalCipher(GENESIS.tree(), ALICE)) {
                cipher.open(new byte[] {1}, bytes);
            }
            return bytes;
        });
    }

    @FuzzTest(maxDuration = "60m")
    void sealedKeys(byte[] input) {
        hold(input, bytes -> {
            DOMAIN_KEY.openBlockKey(BLOCK, 2, bytes).close();
            return bytes;
        });
        hold(input, bytes -> {
            DOMAIN_KEY.openName(bytes);
            return bytes;
        });
    }
}
