package blocktree.fuse;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import blocktree.fuse.KernelStandIn.Answer;
import blocktree.tree.FileSystem;
import blocktree.tree.MemoryFileSystem;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Kernels that are older, or lack a feature: either a session that works, or a refusal that says why. */
@Timeout(60)
class NegotiationTest {
    private static final int NEWEST_MINOR = 45;
    private static final int FEATURE_COUNT = 42;
    private static final long ALL = (1L << FEATURE_COUNT) - 1;
    private static final long EXTENDED = Negotiation.INIT_EXT | -1L << 32;
    private static final int O_RDWR = 2;

    @ParameterizedTest
    @ValueSource(ints = {5, 12, 19, 22})
    void kernelsThatAreTooOldAreRefused(int minor) {
        KernelStandIn kernel = new KernelStandIn(new MemoryFileSystem(), MountOptions.defaults());
        try (kernel) {
            IllegalStateException e = assertThrows(
                    IllegalStateException.class, () -> kernel.start(minor, ALL & ~EXTENDED, MountOptions.defaults()));
            assertTrue(String.valueOf(e.getMessage()).contains("7." + minor), e.getMessage());
        }
    }

    @ParameterizedTest
    @ValueSource(ints = {23, 28, 31, 33, 36, NEWEST_MINOR})
    void kernelsOfAllOtherVersionsAreServed(int minor) throws Exception {
        long offered = minor < 36 ? ALL & ~EXTENDED : ALL;
        serves(minor, offered, MountOptions.defaults());
        serves(minor, offered, MountOptions.defaults().withWriteBackCache(true));
        serves(minor, 0, MountOptions.defaults().withWriteBackCache(true));
    }

    @Test
    void anyFeatureMayBeMissing() throws Exception {
        for (int bit = 0; bit < FEATURE_COUNT; bit++) {
            serves(NEWEST_MINOR, ALL & ~(1L << bit), MountOptions.defaults().withWriteBackCache(true));
        }
    }

    private static void serves(int minor, long offered, MountOptions options) throws Exception {
        String which = "7." + minor + " offers " + Long.toHexString(offered);
        try (KernelStandIn kernel = new KernelStandIn(new MemoryFileSystem(), options)) {
            long taken = kernel.start(minor, offered, options);
            assertEquals(0, taken & ~offered, which);
            assertEquals((offered & Negotiation.READDIRPLUS) != 0, (taken & Negotiation.READDIRPLUS) != 0, which);
            boolean keepsBack = options.writeBackCache() && (offered & Negotiation.WRITEBACK_CACHE) != 0;
            assertEquals(keepsBack, (taken & Negotiation.WRITEBACK_CACHE) != 0, which);
            work(kernel, which);
        }
    }

    /** A file is made, looked up, written, read, listed and removed. */
    private static void work(KernelStandIn kernel, String which) throws Exception {
        long root = FileSystem.ROOT_INODE;
        Answer missing = kernel.ask(RequestThread.OPCODE_LOOKUP, root, KernelStandIn.body(KernelStandIn.body(0), "f"));
        assertTrue(missing.errno() == Errno.ENOENT || missing.body().getLong(0) == 0, which);

        ByteBuffer create = KernelStandIn.body(16).putInt(O_RDWR).putInt(0100644);
        Answer created = succeeds(kernel, RequestThread.OPCODE_CREATE, root, KernelStandIn.body(create, "f"), which);
        long node = created.body().getLong(0);
        long handle = created.body().getLong(KernelStructs.ENTRY_SIZE_BYTES);

        byte[] content = "content".getBytes(StandardCharsets.UTF_8);
        ByteBuffer write = KernelStandIn.body(40 + content.length)
                .putLong(handle)
                .putLong(0)
                .putInt(content.length);
        write.position(40).put(content);
        assertEquals(
                content.length,
                succeeds(kernel, RequestThread.OPCODE_WRITE, node, write, which)
                        .body()
                        .getInt(0),
                which);
        ByteBuffer read = KernelStandIn.body(40).putLong(handle).putLong(0).putInt(4096);
        assertEquals(
                ByteBuffer.wrap(content),
                succeeds(kernel, RequestThread.OPCODE_READ, node, read, which).body(),
                which);
        Answer found = succeeds(
                kernel, RequestThread.OPCODE_LOOKUP, root, KernelStandIn.body(KernelStandIn.body(0), "f"), which);
        assertEquals(node, found.body().getLong(0), which);
        Answer attributes = succeeds(kernel, RequestThread.OPCODE_GETATTR, node, KernelStandIn.body(16), which);
        assertEquals(content.length, attributes.body().getLong(16 + 8), which);

        succeeds(kernel, RequestThread.OPCODE_OPENDIR, root, KernelStandIn.body(8), which);
        ByteBuffer list = KernelStandIn.body(40).putLong(0).putLong(0).putInt(4096);
        ByteBuffer listed = succeeds(kernel, RequestThread.OPCODE_READDIR, root, list, which)
                .body();
        List<String> names = new ArrayList<>();
        while (listed.hasRemaining()) {
            int at = listed.position();
            int size = listed.getInt(at + 16);
            names.add(new String(listed.array(), at + 24, size, StandardCharsets.UTF_8));
            listed.position(at + KernelStructs.directoryEntrySizeBytes(size));
        }
        assertEquals(List.of(".", "..", "f"), names, which);

        succeeds(
                kernel, RequestThread.OPCODE_FLUSH, node, KernelStandIn.body(24).putLong(handle), which);
        succeeds(
                kernel,
                RequestThread.OPCODE_RELEASE,
                node,
                KernelStandIn.body(24).putLong(handle),
                which);
        succeeds(kernel, RequestThread.OPCODE_UNLINK, root, KernelStandIn.body(KernelStandIn.body(0), "f"), which);
        kernel.tell(RequestThread.OPCODE_FORGET, node, KernelStandIn.body(8).putLong(2));
        assertEquals(
                Errno.ENOSYS,
                kernel.ask(1000, root, KernelStandIn.body(64)).errno(),
                "what only a newer kernel knows is declined");
        Await.until(which + ": forgotten", () -> kernel.operations().knownInodeCount() == 0);
    }

    private static Answer succeeds(KernelStandIn kernel, int opcode, long node, ByteBuffer body, String which) {
        Answer answer = kernel.ask(opcode, node, body);
        assertEquals(0, answer.errno(), () -> which + ": request " + opcode);
        return answer;
    }
}
