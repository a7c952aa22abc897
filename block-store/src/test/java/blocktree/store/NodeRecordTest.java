package blocktree.store;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import blocktree.crypto.CryptoException;
import blocktree.crypto.Identity;
import blocktree.crypto.NodeRecord;
import blocktree.crypto.RecordKind;
import java.net.InetSocketAddress;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Node records in a store's log; a takeover of them is with {@link StoreTransferTest}. */
@Timeout(120)
class NodeRecordTest {

    @TempDir
    Path directory;

    private TestTree tree;

    @BeforeEach
    void found() throws StoreException {
        tree = new TestTree(directory);
    }

    @AfterEach
    void close() throws StoreException {
        tree.close();
    }

    private NodeRecord record(Identity node, long sequence, String host) {
        return NodeRecord.create(
                node, tree.founding.tree(), sequence, "nas", List.of(InetSocketAddress.createUnresolved(host, 7450)));
    }

    private NodeRecord append(NodeRecord record) throws StoreException {
        tree.store.appendAuthority(RecordKind.NODE, record.toBytes());
        return record;
    }

    private void refused(StoreException.Code code, byte[] record) {
        long head = tree.store.headPosition();
        StoreException e =
                assertThrows(StoreException.class, () -> tree.store.appendAuthority(RecordKind.NODE, record));
        assertEquals(code, e.code(), e.getMessage());
        assertEquals(head, tree.store.headPosition());
    }

    private List<Finding.Kind> check() throws StoreException {
        List<Finding.Kind> kinds = new ArrayList<>();
        tree.store.fsck(FsckOptions.defaults(), finding -> kinds.add(finding.kind()));
        return kinds;
    }

    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void isThereAgainWhenTheStoreIsOpenedAgain(boolean checkpointed) throws Exception {
        append(record(tree.node, 1, "old.example"));
        tree.create("between", 1);
        NodeRecord newest = append(record(tree.node, 2, "192.0.2.7"));
        if (checkpointed) {
            tree.store.ledger().checkpoint();
        }
        assertEquals(newest, tree.store.authority().node(tree.node.id()));
        tree.reopen();
        assertEquals(newest, tree.store.authority().node(tree.node.id()));
        assertEquals(
                List.of(tree.root.id(), tree.node.id()), // the founding gives the root a chain of its own
                tree.store.authority().nodesAt(System.currentTimeMillis()));
        assertEquals(List.of(), check());
    }

    @Test
    void whatIsNotAllowedIsNotInTheLog() throws Exception {
        append(record(tree.node, 2, "nas.example"));
        refused(
                StoreException.Code.CONFLICT,
                record(tree.node, 2, "elsewhere.example").toBytes());
        refused(
                StoreException.Code.CONFLICT,
                record(tree.node, 1, "elsewhere.example").toBytes());
        refused(StoreException.Code.INVALID, new byte[] {1, 2, 3});
        try (Identity stranger = Identity.generate()) {
            refused(
                    StoreException.Code.DENIED,
                    record(stranger, 1, "nas.example").toBytes());
        }
        assertEquals(List.of(), check());
    }

    /** One in the log that was not allowed: what a check says, since the store does not open. */
    @Test
    void aForgedOneIsAFindingAndTheStoreDoesNotOpen() throws Exception {
        try (Identity stranger = Identity.generate()) {
            long position = tree.store.appendAuthority(
                    RecordKind.NODE, record(tree.node, 1, "nas.example").toBytes());
            tree.store.ledger().checkpoint();
            byte[] encoded = tree.store.ledger().rocks().get(Column.LOG, Keys.log(position));
            assertNotNull(encoded);
            LogEntry entry = LogEntry.parse(encoded);
            LogEntry forged = LogEntry.of(
                    position,
                    entry.timeMillis(),
                    entry.previous(),
                    LogKind.NODE,
                    record(stranger, 1, "villain.example").toBytes());
            for (Column column : List.of(Column.LOG, Column.AUTHORITY)) {
                tree.store.ledger().rocks().put(column, Keys.log(position), forged.encoded());
            }
            assertTrue(check().contains(Finding.Kind.AUTHORITY_INVALID));
            tree.store.close();
            StoreException e = assertThrows(StoreException.class, tree::open);
            assertEquals(StoreException.Code.CORRUPT, e.code(), e.getMessage());
            try (Rocks rocks = new Rocks(tree.dir, tree.options, Rocks.Mode.WRITE)) {
                for (Column column : List.of(Column.LOG, Column.AUTHORITY)) {
                    rocks.put(column, Keys.log(position), encoded);
                }
            }
            tree.open();
            assertEquals(List.of(), check());
        }
    }

    @Test
    void oneThatIsHiddenIsMissed() throws Exception {
        long position = tree.store.appendAuthority(
                RecordKind.NODE, record(tree.node, 1, "nas.example").toBytes());
        tree.store.ledger().checkpoint();
        tree.store.close();
        byte[] hidden;
        try (Rocks rocks = new Rocks(tree.dir, tree.options, Rocks.Mode.WRITE)) {
            hidden = rocks.get(Column.AUTHORITY, Keys.log(position));
            assertNotNull(hidden);
            rocks.delete(Column.AUTHORITY, Keys.log(position));
        }
        assertThrows(StoreException.class, tree::open);
        try (Rocks rocks = new Rocks(tree.dir, tree.options, Rocks.Mode.WRITE)) {
            rocks.put(Column.AUTHORITY, Keys.log(position), hidden);
        }
        tree.open();
    }

    @Test
    void kindsOfTheLogAreThoseOfTheRecords() throws Exception {
        for (LogKind kind : LogKind.values()) {
            assertEquals(kind, LogKind.of(kind.number()));
            if (kind.isAuthority()) {
                assertEquals(kind.name(), RecordKind.of(kind.number()).name());
            } else {
                assertThrows(CryptoException.class, () -> RecordKind.of(kind.number()));
            }
        }
        assertEquals(
                RecordKind.values().length,
                Arrays.stream(LogKind.values()).filter(LogKind::isAuthority).count());
        assertEquals(
                List.of(8, 9, 10, 11),
                List.of(
                        LogKind.COMMIT.number(),
                        LogKind.SNAPSHOT.number(),
                        LogKind.CHECKPOINT.number(),
                        LogKind.NODE.number()));
    }
}
