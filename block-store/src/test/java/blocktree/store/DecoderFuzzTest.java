package blocktree.store;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import blocktree.crypto.Identity;
import blocktree.crypto.SecretBytes;
import com.code_intelligence.jazzer.junit.FuzzTest;

/**
 * Hostile bytes for every decoder of this module: each ends with a value or a {@link StoreException}, never in another way. The inputs
 * in {@code DecoderFuzzTestInputs} run in each test run; with {@code JAZZER_FUZZ=1} and {@code -Dtest=DecoderFuzzTest#method} new ones
 * are searched for.
 */
class DecoderFuzzTest {

    private static final SecretBytes ANCHOR_KEY = Identity.generate().deriveSecret("anchor");

    private interface Decoder {
        void decode(byte[] input) throws StoreException;
    }

    private static void hold(byte[] input, Decoder decoder) {
        byte[] given = input.clone();
        try {
            decoder.decode(input);
        } catch (StoreException refused) {
            assertTrue(
                    refused.code() == StoreException.Code.INVALID || refused.code() == StoreException.Code.CORRUPT,
                    "code " + refused.code());
        }
        assertArrayEquals(given, input, "the input is left as it was");
    }

    @FuzzTest(maxDuration = "60m")
    void header(byte[] input) {
        hold(input, bytes -> {
            Header header = Header.parse(bytes);
            assertArrayEquals(bytes, header.encoded());
            assertTrue(header.generation() >= 1 && header.sectorCount() >= 0);
            if (header.sectorCount() > 0) {
                assertTrue(IntegrityNode.depth(header.sectorCount()) <= 10);
            }
        });
    }

    @FuzzTest(maxDuration = "60m")
    void headerRecord(byte[] input) {
        hold(input, bytes -> {
            HeaderRecord record = HeaderRecord.parse(bytes);
            HeaderRecord again = HeaderRecord.parse(record.encode());
            assertEquals(record.header().hash(), again.header().hash());
            HeadersTree.proves(
                    record.header().hash(), 7, record.index(), record.header().hash(), record.path());
        });
    }

    @FuzzTest(maxDuration = "60m")
    void logEntry(byte[] input) {
        hold(input, bytes -> assertTrue(LogEntry.parse(bytes).position() >= 1));
    }

    @FuzzTest(maxDuration = "60m")
    void commit(byte[] input) {
        hold(input, bytes -> {
            CommitBody body = CommitBody.parse(bytes);
            assertEquals(body, CommitBody.parse(body.encode()));
        });
    }

    @FuzzTest(maxDuration = "60m")
    void checkpoint(byte[] input) {
        hold(input, bytes -> {
            Checkpoint checkpoint = Checkpoint.parse(bytes);
            assertEquals(checkpoint, Checkpoint.parse(checkpoint.encode()));
        });
    }

    @FuzzTest(maxDuration = "60m")
    void snapshot(byte[] input) {
        hold(input, bytes -> {
            SnapshotBody body = SnapshotBody.parse(bytes);
            SnapshotBody again = SnapshotBody.parse(body.encode());
            assertEquals(body.id(), again.id());
            assertEquals(body.root(), again.root());
        });
    }

    @FuzzTest(maxDuration = "60m")
    void change(byte[] input) {
        hold(input, bytes -> {
            OrderedChange change = OrderedChange.parse(bytes);
            assertEquals(change.snapshot() == null, !change.records().isEmpty());
            OrderedChange again = OrderedChange.parse(change.encode());
            assertEquals(change.after(), again.after());
            assertEquals(change.records().size(), again.records().size());
        });
    }

    @FuzzTest(maxDuration = "60m")
    void changes(byte[] input) {
        hold(input, bytes -> assertArrayEquals(bytes, Changes.encode(Changes.parse(bytes))));
    }

    @FuzzTest(maxDuration = "60m")
    void garbage(byte[] input) {
        hold(input, bytes -> {
            Garbage garbage = Garbage.decode(bytes);
            garbage.namesSector(1, 1);
            garbage.namesNode(0, 1, 1);
            garbage.statePaths();
        });
    }

    @FuzzTest(maxDuration = "60m")
    void anchor(byte[] input) {
        hold(input, bytes -> Anchor.parse(bytes, ANCHOR_KEY));
    }

    @FuzzTest(maxDuration = "60m")
    void integrityNode(byte[] input) {
        hold(input, bytes -> {
            if (IntegrityNode.isWellFormed(bytes)) {
                for (int i = 0; i < IntegrityNode.FAN_OUT; i++) {
                    IntegrityNode.entry(bytes, i);
                }
                assertArrayEquals(bytes, IntegrityNode.trim(bytes));
            }
        });
    }

    @FuzzTest(maxDuration = "60m")
    void stateNode(byte[] input) {
        hold(input, bytes -> {
            byte[] path = new byte[32];
            for (int depth = 0; depth <= 64; depth += 8) {
                if (StateMap.isWellFormed(bytes, path, depth) && bytes[0] == 0x10) {
                    StateMap.entries(bytes);
                }
            }
        });
    }

    @FuzzTest(maxDuration = "60m")
    void padding(byte[] input) {
        hold(input, bytes -> assertTrue(Padding.unpad(bytes, bytes.length).length <= bytes.length));
    }
}
