package blocktree.store;

import static blocktree.store.BlockStoreTest.assertCode;
import static blocktree.store.TestTree.bytes;
import static blocktree.store.TestTree.read;
import static blocktree.store.TestTree.sector;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import blocktree.crypto.BlockId;
import blocktree.store.StoreException.Code;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.locks.LockSupport;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** A store on a small device of its own that fills up. Mounts a tmpfs, so it runs as root. */
class FullDeviceTest {

    private static final long DEVICE_BYTES = 64 << 20;
    private static final long ROOMY_DEVICE_BYTES = 512 << 20;

    @TempDir
    Path temp;

    private Path device;

    @BeforeEach
    void mount() throws Exception {
        device = Files.createDirectory(temp.resolve("device"));
        run("mount", "-t", "tmpfs", "-o", "size=" + DEVICE_BYTES, "tmpfs", device.toString());
    }

    @AfterEach
    void unmount() throws Exception {
        run("umount", device.toString());
    }

    private static void run(String... command) throws IOException, InterruptedException {
        Process process = new ProcessBuilder(command).redirectErrorStream(true).start();
        String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        assertEquals(0, process.waitFor(), String.join(" ", command) + " (needs root): " + output);
    }

    private static StoreOptions small() {
        return TestTree.options().withWriteBufferBytes(3 << 20);
    }

    /** Fills what is free but {@code left} bytes. */
    private Path fill(long left) throws IOException {
        Path filler = device.resolve("filler");
        try (var channel = Files.newByteChannel(filler, StandardOpenOption.CREATE, StandardOpenOption.WRITE)) {
            byte[] zeros = new byte[1 << 20];
            while (Files.getFileStore(device).getUsableSpace() > left) {
                long room = Files.getFileStore(device).getUsableSpace() - left;
                channel.write(ByteBuffer.wrap(zeros, 0, (int) Math.min(zeros.length, room)));
            }
        }
        return filler;
    }

    private static NewBlock commitLarge(TestTree tree, int sectorSizeLog2) throws StoreException {
        try (Commit commit = tree.store.newCommit()) {
            NewBlock block = tree.store.newBlock(tree.store.rootDomain());
            BlockEdit edit = commit.create(block, sectorSizeLog2).attributes(bytes("large"));
            byte[] content = new byte[1 << sectorSizeLog2];
            for (int i = 0; i < (4 << 20) >> sectorSizeLog2; i++) {
                edit.putSector(i, content, 0);
            }
            tree.store.commit(commit, true);
            return block;
        }
    }

    @Test
    void reserveRefusesDataButLetsDeletionsThrough() throws Exception {
        try (TestTree tree = new TestTree(device, small().withReserveBytes(16 << 20))) {
            OpenBlock kept = tree.create("kept", 1);
            Path filler = fill(12 << 20);
            assertCode(Code.NO_SPACE, () -> commitLarge(tree, 12));
            assertArrayEquals(sector(1), read(tree.store.read(kept.id()), 0));
            try (Commit commit = tree.store.newCommit()) {
                commit.delete(kept);
                tree.store.commit(commit, true);
            }
            Files.delete(filler);
            commitLarge(tree, 12);
            assertFalse(tree.store.isReadOnly());
        }
    }

    /** Without a reserve the database itself meets the end of the device, in its log and in the files of large commits. */
    @Test
    void fullDeviceRefusesWritersKeepsWhatIsCommittedAndRecoversByItself() throws Exception {
        for (int sectorSizeLog2 : new int[] {12, 16}) {
            try (TestTree tree = new TestTree(Files.createTempDirectory(device, "tree"), small())) {
                OpenBlock kept = tree.create("kept", 1);
                tree.store.sync();
                Path filler = fill(10 << 20);
                List<NewBlock> committed = new ArrayList<>();
                StoreException refusal = null;
                while (refusal == null) {
                    try {
                        committed.add(commitLarge(tree, sectorSizeLog2));
                    } catch (StoreException e) {
                        refusal = e;
                    }
                }
                assertEquals(Code.NO_SPACE, refusal.code(), refusal.getMessage());
                assertArrayEquals(sector(1), read(tree.store.read(kept.id()), 0));
                for (NewBlock block : committed) {
                    assertArrayEquals(
                            bytes("large"), tree.store.read(block.id()).attributes());
                }
                Files.delete(filler);
                NewBlock later = awaitRecovery(tree, sectorSizeLog2);
                assertFalse(tree.store.isReadOnly());
                tree.reopen();
                assertArrayEquals(sector(1), read(tree.store.read(kept.id()), 0));
                assertArrayEquals(new byte[1 << sectorSizeLog2], read(tree.store.read(later.id()), 0));
                for (NewBlock block : committed) {
                    assertArrayEquals(new byte[1 << sectorSizeLog2], read(tree.store.read(block.id()), 0));
                }
            }
        }
    }

    /** What a person does with a full disk: delete something, and go on. */
    @ParameterizedTest
    @CsvSource({"16384, 1", "65536, 2", "1048576, 2"})
    void deletingMakesRoomAtOnce(int bytes, int everyOneOf) throws Exception {
        run("mount", "-o", "remount,size=" + ROOMY_DEVICE_BYTES, device.toString());
        try (TestTree tree = new TestTree(device, StoreOptions.defaults())) {
            List<BlockId> first = commitUntilFull(tree, bytes);
            List<BlockId> there = new ArrayList<>();
            int deleted = 0;
            for (int i = 0; i < first.size(); i++) {
                if (i % everyOneOf == 0) {
                    delete(tree, first.get(i));
                    deleted++;
                } else {
                    there.add(first.get(i));
                }
            }
            List<BlockId> second = commitUntilFull(tree, bytes);
            assertTrue(
                    second.size() > deleted / 2,
                    second.size() + " fitted after " + deleted + " of " + first.size() + " were deleted");
            there.addAll(second);
            tree.reopen();
            for (BlockId id : there) {
                OpenBlock block = tree.store.read(id);
                assertEquals(bytes, block.sectorCount() << 12);
                read(block, block.sectorCount() - 1);
            }
            assertFalse(tree.store.isReadOnly());
        }
    }

    private static void delete(TestTree tree, BlockId id) throws StoreException {
        try (Commit commit = tree.store.newCommit()) {
            commit.delete(tree.store.read(id));
            tree.store.commit(commit, false);
        }
    }

    private static List<BlockId> commitUntilFull(TestTree tree, int bytes) throws StoreException {
        List<BlockId> made = new ArrayList<>();
        while (true) {
            try (Commit commit = tree.store.newCommit()) {
                NewBlock block = tree.store.newBlock(tree.store.rootDomain());
                BlockEdit edit = commit.create(block, 12).attributes(bytes("file"));
                for (int i = 0; i < bytes >> 12; i++) {
                    edit.putSector(i, new byte[1 << 12], 0);
                }
                tree.store.commit(commit, false);
                made.add(block.id());
            } catch (StoreException e) {
                assertEquals(Code.NO_SPACE, e.code(), e.getMessage());
                return made;
            }
        }
    }

    @Test
    void readOnlyDeviceIsReadButNotOpenedForWriting() throws Exception {
        TestTree tree = new TestTree(device, small());
        OpenBlock kept = tree.create("kept", 1);
        tree.store.close();
        run("mount", "-o", "remount,ro", device.toString());
        StoreException refusal = assertCode(Code.IO, tree::open);
        assertTrue(String.valueOf(refusal.getMessage()).contains("Read-only file system"), refusal.getMessage());
        tree.options = tree.options.withReadOnly(true);
        tree.open();
        assertArrayEquals(sector(1), read(tree.store.read(kept.id()), 0));
        try (Commit commit = tree.store.newCommit()) {
            commit.delete(kept);
            assertCode(Code.READ_ONLY, () -> tree.store.commit(commit, true));
        }
        tree.close();
    }

    private static NewBlock awaitRecovery(TestTree tree, int sectorSizeLog2) throws Exception {
        long end = System.nanoTime() + Duration.ofSeconds(60).toNanos();
        while (true) {
            try {
                return commitLarge(tree, sectorSizeLog2);
            } catch (StoreException e) {
                assertEquals(Code.NO_SPACE, e.code(), e.getMessage());
                if (System.nanoTime() > end) {
                    throw e;
                }
                LockSupport.parkNanos(100_000_000);
            }
        }
    }
}
