package blocktree.store;

import static blocktree.store.BlockStoreTest.assertCode;
import static blocktree.store.TestTree.bytes;
import static blocktree.store.TestTree.read;
import static blocktree.store.TestTree.sector;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import blocktree.crypto.Authority;
import blocktree.crypto.CryptoException;
import blocktree.crypto.Hash;
import blocktree.crypto.Identity;
import blocktree.crypto.KeyChange;
import blocktree.crypto.KeyRing;
import blocktree.crypto.RecordKind;
import blocktree.crypto.Revocation;
import blocktree.crypto.SecretBytes;
import blocktree.crypto.TreeFounding;
import blocktree.store.StoreException.Code;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class KeyChangeTest {

    @TempDir
    Path temp;

    private final Identity fresh = Identity.generate();
    private TestTree tree;

    @BeforeEach
    void found() throws StoreException {
        tree = new TestTree(temp);
    }

    @AfterEach
    void close() throws StoreException {
        tree.close();
        fresh.close();
    }

    private void requireClean(BlockStore store) throws StoreException {
        List<Finding> findings = new ArrayList<>();
        store.fsck(FsckOptions.defaults(), findings::add);
        assertEquals(List.of(), findings);
    }

    private void assertOpens(Identity root) throws Exception {
        try (KeyRing ring = new KeyRing(root, tree.store.authority())) {
            ring.currentKey(tree.store.rootDomain());
        }
    }

    private void assertOpensNothingNew(Identity former) {
        try (KeyRing ring = new KeyRing(former, tree.store.authority())) {
            assertThrows(CryptoException.class, () -> ring.currentKey(tree.store.rootDomain()));
        }
    }

    // ---- the root's key

    private void rotateRoot(Identity old, Identity to) throws Exception {
        Authority authority = tree.store.authority();
        KeyChange change = KeyChange.rotateRoot(authority, old, to, System.currentTimeMillis(), 0);
        tree.store.appendAuthority(change.entries(), authority.position());
    }

    @Test
    void afterARotationTheNodeGoesOnUnderTheNewRootAndTheOldOneSignsNothing() throws Exception {
        OpenBlock block = tree.create("a", 1, 2);
        rotateRoot(tree.root, fresh);
        block = tree.put(block, 1, 22);
        tree.store.createSnapshot(bytes("after"));
        tree.reopen();
        block = tree.put(tree.store.read(block.id()), 0, 11);
        assertArrayEquals(sector(11), read(block, 0));
        assertArrayEquals(sector(22), read(block, 1));
        assertEquals(2, block.header().epoch());
        requireClean(tree.store);
        assertOpens(fresh);
        assertOpensNothingNew(tree.root);
        Hash nodesLink = tree.store
                .authority()
                .chainsOf(tree.node.id())
                .get(0)
                .links()
                .get(0)
                .envelopeId();
        assertCode(
                Code.DENIED,
                () -> tree.store.appendAuthority(
                        RecordKind.REVOCATION,
                        Revocation.create(tree.root, tree.store.tree(), nodesLink, 1)
                                .toBytes()));
        try (Identity third = Identity.generate()) {
            assertThrows(CryptoException.class, () -> rotateRoot(tree.root, third));
            rotateRoot(fresh, third);
            tree.reopen();
            assertOpens(third);
            assertOpensNothingNew(fresh);
        }
    }

    @Test
    void aRotationThatIsRefusedLeavesNothing() throws Exception {
        Authority authority = tree.store.authority();
        KeyChange change = KeyChange.rotateRoot(authority, tree.root, fresh, System.currentTimeMillis(), 0);
        List<TreeFounding.Entry> others = new ArrayList<>(change.entries());
        others.remove(
                0); // the rotation itself: what the new root has signed counts without it no more than a stranger's
        long head = tree.store.headPosition();
        assertCode(Code.DENIED, () -> tree.store.appendAuthority(others, authority.position()));
        assertCode(Code.CONFLICT, () -> tree.store.appendAuthority(change.entries(), authority.position() - 1));
        assertEquals(head, tree.store.headPosition());
        assertEquals(0, tree.store.authority().rotations());
        tree.create("a", 1);
        requireClean(tree.reopen());
    }

    // ---- the node's key

    @Test
    void aReplacedNodeKeyOpensNothingAndTheNewOneAllOfIt() throws Exception {
        OpenBlock block = tree.create("a", 1, 2);
        tree.store.createSnapshot(bytes("before"));
        block = tree.put(block, 1, 22); // behind the checkpoint
        tree.store.local("table").put(bytes("k"), bytes("v"));
        tree.store.close();
        Path copy = temp.resolve("copy");
        copy(tree.dir, copy);

        BlockStore.replaceNode(tree.dir, tree.options, tree.node, tree.root, fresh);

        StoreException refused =
                assertThrows(StoreException.class, () -> BlockStore.open(tree.dir, tree.options, tree.node));
        assertEquals(Code.WRONG_KEY, refused.code());
        assertTrue(String.valueOf(refused.getMessage()).contains("was replaced"), refused.getMessage());
        KeyHolders holders = BlockStore.keyHolders(tree.dir);
        assertEquals(fresh.id(), holders.node());
        assertTrue(holders.isRoot(tree.root.id()));
        assertFalse(holders.isRetiredRoot(tree.root.id()));

        tree.store = BlockStore.open(tree.dir, tree.options, fresh);
        assertArrayEquals(bytes("v"), tree.store.local("table").get(bytes("k")));
        block = tree.store.read(block.id());
        assertArrayEquals(sector(22), read(block, 1));
        assertArrayEquals(
                sector(2),
                read(tree.store.readAt(block.id(), tree.store.snapshots().get(0)), 1));
        block = tree.put(block, 0, 11);
        assertEquals(2, block.header().epoch());
        tree.create("b", 3);
        requireClean(tree.store);
        assertOpensNothingNew(tree.node);
        assertOpens(tree.root);
        tree.store.close();
        tree.store = BlockStore.open(tree.dir, tree.options, fresh);
        requireClean(tree.store);

        // What was copied before stays what it was: the old key opens it, and put back in place of the store it does
        // not pass for it.
        assertCode(Code.WRONG_KEY, () -> BlockStore.open(copy, tree.options, fresh));
        try (BlockStore before = BlockStore.open(copy, tree.options, tree.node)) {
            requireClean(before);
        }
    }

    @Test
    void theRootReplacesANodeKeyThatIsLost() throws Exception {
        OpenBlock block = tree.create("a", 1);
        tree.store.local("table").put(bytes("k"), bytes("v"));
        tree.store.close();
        BlockStore.replaceNode(tree.dir, tree.options, null, tree.root, fresh);
        tree.store = BlockStore.open(tree.dir, tree.options, fresh);
        assertArrayEquals(sector(1), read(tree.store.read(block.id()), 0));
        assertNull(tree.store.local("table").get(bytes("k")), "nobody can open it");
        tree.put(tree.store.read(block.id()), 0, 2);
        requireClean(tree.store);
    }

    @Test
    void whatTheAnchorMissesIsReportedThoughItsKeyIsLost() throws Exception {
        tree.create("a", 1);
        tree.store.close();
        Path copy = temp.resolve("copy");
        copy(tree.dir, copy);
        tree.open();
        tree.create("b", 2);
        tree.store.close();
        Files.copy(tree.dir.resolve("anchor"), copy.resolve("anchor"), StandardCopyOption.REPLACE_EXISTING);
        assertCode(Code.LOST_WRITES, () -> BlockStore.replaceNode(copy, tree.options, null, tree.root, fresh));
        BlockStore.open(tree.dir, tree.options, tree.node).close();
        BlockStore.replaceNode(copy, tree.options.withAcceptLoss(true), null, tree.root, fresh);
        BlockStore.open(copy, tree.options, fresh).close();
        tree.open();
    }

    /** As it is on the disk when the process ends right before, or right after, the write of the log. */
    @Test
    void whicheverKeyOpensTheStoreFindsAnAnchorOfItsOwn() throws Exception {
        tree.create("a", 1);
        tree.store.close();
        Path anchorPath = tree.dir.resolve("anchor");
        try (AnchorFile file = AnchorFile.open(anchorPath, tree.node.deriveSecret("anchor"), false);
                SecretBytes freshKey = fresh.deriveSecret("anchor")) {
            Anchor now = Objects.requireNonNull(Objects.requireNonNull(file).read());
            file.write(
                    new Anchor(
                            now.tree(),
                            now.sequence() + 1,
                            now.checkpointPosition(),
                            now.stateRoot(),
                            now.acknowledgedPosition(),
                            now.acknowledgedHash()),
                    freshKey);
        }
        byte[] between = Files.readAllBytes(anchorPath);
        requireClean(tree.open());
        tree.store.close();
        Files.write(anchorPath, between);
        BlockStore.replaceNode(tree.dir, tree.options, tree.node, tree.root, fresh);
        Files.write(anchorPath, between);
        tree.store = BlockStore.open(tree.dir, tree.options, fresh);
        requireClean(tree.store);
    }

    @Test
    void onlyTheRootInForceReplacesANode() throws Exception {
        tree.store.close();
        try (Identity stranger = Identity.generate()) {
            assertCode(Code.DENIED, () -> BlockStore.replaceNode(tree.dir, tree.options, tree.node, stranger, fresh));
            assertCode(Code.DENIED, () -> BlockStore.replaceNode(tree.dir, tree.options, null, stranger, fresh));
            assertCode(
                    Code.WRONG_KEY, () -> BlockStore.replaceNode(tree.dir, tree.options, stranger, tree.root, fresh));
        }
        requireClean(tree.open());
    }

    private static void copy(Path from, Path to) throws IOException {
        try (var files = Files.walk(from)) {
            for (Path file : files.toList()) {
                Files.copy(file, to.resolve(from.relativize(file).toString()));
            }
        }
    }
}
