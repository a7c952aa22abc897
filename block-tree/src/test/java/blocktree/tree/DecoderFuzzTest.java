package blocktree.tree;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.code_intelligence.jazzer.junit.FuzzTest;
import java.util.Arrays;
import java.util.Map;

/**
 * Hostile bytes for the decoders of this module: each ends with a value within its bounds or a {@link FormatException}. The inputs in {@code DecoderFuzzTestInputs} run in each test run; with {@code
 * JAZZER_FUZZ=1} and {@code -Dtest=DecoderFuzzTest#method} new ones are searched for.
 */
class DecoderFuzzTest {

    @FuzzTest(maxDuration = "60m")
    void attributes(byte[] input) {
        for (long sectors : new long[] {0, 6, 1L << 40}) {
            try {
                StoredInode inode = StoredInode.decode(input, sectors);
                assertTrue(inode.symlinkTarget().length <= StoredInode.SYMLINK_BYTES_MAX);
                assertEquals(0, inode.protection().modeWithoutLists() & ~inode.mode());
                StoredInode again = StoredInode.decode(inode.encode(), sectors);
                assertArrayEquals(inode.encode(), again.encode());
            } catch (FormatException refused) {
                assertTrue(refused.getMessage() != null);
            }
        }
    }

    @FuzzTest(maxDuration = "60m")
    void directoryNode(byte[] input) {
        try {
            DirectoryNode node = DirectoryNode.decode(Map.of(), 0, input);
            byte[] image = node.encode();
            assertArrayEquals(Arrays.copyOf(input, image.length), image);
            for (int i = 0; node.kind == DirectoryNode.LEAF && i < node.count; i++) {
                assertEquals(node.entry(i).key(), node.keys[i]);
            }
        } catch (FormatException refused) {
            assertTrue(refused.getMessage() != null);
        }
    }
}
