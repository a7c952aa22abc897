package blocktree.store;

import static blocktree.store.BlockStoreTest.assertCode;
import static blocktree.store.TestTree.bytes;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;

import blocktree.crypto.Identity;
import blocktree.crypto.LocalCipher;
import blocktree.store.StoreException.Code;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class LocalTableTest {

    private static final byte[] PLACE = LocalTable.key("orphans", bytes("k"));

    @TempDir
    Path directory;

    private TestTree tree;

    @BeforeEach
    void open() throws StoreException {
        tree = new TestTree(directory);
    }

    @AfterEach
    void close() throws StoreException {
        tree.close();
    }

    @Test
    void changesAreAtomicWithTheirCommit() throws StoreException {
        OpenBlock base = tree.create("a");
        LocalTable table = tree.store.local("orphans");
        try (Commit commit = tree.store.newCommit()) {
            commit.edit(base).attributes(bytes("b"));
            commit.putLocal("orphans", bytes("k"), bytes("v"));
            tree.store.commit(commit, true);
        }
        assertArrayEquals(bytes("v"), table.get(bytes("k")));
        try (Commit late = tree.store.newCommit()) {
            late.edit(base).attributes(bytes("c"));
            late.putLocal("orphans", bytes("k"), null);
            assertCode(Code.CONFLICT, () -> tree.store.commit(late, true));
        }
        table.put(bytes("j"), bytes("w"));
        tree.store.local("orphans2").put(bytes("x"), bytes("y"));
        List<String> keys = new ArrayList<>();
        tree.reopen().local("orphans").forEach((key, value) -> keys.add(new String(key) + new String(value)));
        assertEquals(List.of("jw", "kv"), keys);
        try (Commit local = tree.store.newCommit()) {
            local.putLocal("orphans", bytes("k"), null);
            tree.store.commit(local, true);
        }
        assertNull(tree.store.local("orphans").get(bytes("k")));
    }

    @Test
    void valuesAreSealedBothAloneAndInACommit() throws StoreException {
        byte[] value = bytes("a value that somebody could read");
        tree.store.local("orphans").put(bytes("k"), value);
        assertSealed();
        try (Commit commit = tree.store.newCommit()) {
            commit.putLocal("orphans", bytes("k"), value);
            tree.store.commit(commit, true);
        }
        assertSealed();
        assertArrayEquals(value, tree.reopen().local("orphans").get(bytes("k")));
    }

    private void assertSealed() throws StoreException {
        byte[] stored = Objects.requireNonNull(tree.store.readLocal(PLACE));
        assertFalse(new String(stored, StandardCharsets.ISO_8859_1).contains("could read"));
    }

    @Test
    void onlyWhatThisNodePutThereIsBelieved() throws Exception {
        LocalTable table = tree.store.local("orphans");
        table.put(bytes("j"), bytes("v"));
        byte[] ofAnotherRow = Objects.requireNonNull(tree.store.readLocal(LocalTable.key("orphans", bytes("j"))));
        byte[] altered = tree.store.localCipher().seal(PLACE, bytes("v"));
        altered[altered.length - 1] ^= 1;
        byte[] ofAnotherNode;
        try (LocalCipher cipher = new LocalCipher(tree.store.tree(), Identity.generate())) {
            ofAnotherNode = cipher.seal(PLACE, bytes("v"));
        }
        for (byte[] forged : List.of(bytes(""), bytes("v"), ofAnotherRow, altered, ofAnotherNode)) {
            tree.store.writeLocal(PLACE, forged);
            assertCode(Code.CORRUPT, () -> table.get(bytes("k")));
            assertCode(Code.CORRUPT, () -> table.forEach((key, value) -> {}));
        }
        assertArrayEquals(bytes("v"), table.get(bytes("j")));
        table.put(bytes("k"), bytes("w"));
        assertArrayEquals(bytes("w"), table.get(bytes("k")));
    }
}
