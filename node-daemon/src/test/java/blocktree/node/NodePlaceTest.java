package blocktree.node;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import blocktree.crypto.NodeRecord;
import blocktree.crypto.PrincipalId;
import java.net.InetSocketAddress;
import java.nio.file.Path;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class NodePlaceTest {
    private static final PrincipalId ONE = PrincipalId.of(new byte[32]);

    @TempDir
    Path directory;

    private NodePlace place(InetSocketAddress... given) {
        return new NodePlace(directory, "laptop", null, List.of(given));
    }

    @Test
    void whatIsAdvertisedIsWhatWasSaid() throws Exception {
        InetSocketAddress given = InetSocketAddress.createUnresolved("home.example.org", 9274);
        assertEquals(List.of(given), place(given).advertised(new InetSocketAddress("127.0.0.1", 1)));
    }

    @Test
    void elseWhereItListens() throws Exception {
        assertEquals(
                List.of(InetSocketAddress.createUnresolved("127.0.0.1", 9274)),
                place().advertised(new InetSocketAddress("127.0.0.1", 9274)));
        assertEquals(List.of(), place().advertised(null));
    }

    @Test
    void whoListensEverywhereAdvertisesAddressesOfTheMachine() throws Exception {
        List<InetSocketAddress> all = place().advertised(new InetSocketAddress("0.0.0.0", 9274));
        assertFalse(all.isEmpty());
        for (InetSocketAddress each : all) {
            assertTrue(NodeRecord.isHost(each.getHostString()), each.toString());
            assertFalse(each.getHostString().startsWith("0.0.0.0"), each.toString());
            assertEquals(9274, each.getPort());
        }
    }

    @Test
    void whoVotedAtTheBeginningIsKept() throws Exception {
        PrincipalId self = PrincipalId.parse("11".repeat(32));
        assertEquals(Set.of(self), place().firstVoters(self), "who has founded the tree");
        NodePlace.write(directory, "phone", Set.of(ONE, self));
        assertEquals(Set.of(ONE, self), place().firstVoters(self));
    }

    @Test
    void whoIsBehindIsNotedUntilItIsNot() throws Exception {
        assertNull(place().behind());
        place().noteBehind(ONE);
        assertEquals(ONE, place().behind());
        place().forgetBehind();
        assertNull(place().behind());
    }

    @Test
    void theMachinesNameIsOneThatANodeCanHave() {
        assertTrue(NodeRecord.isName(NodePlace.hostName()));
    }

    @Test
    void addressesAreReadAsTheyAreWritten() {
        assertEquals(
                List.of(
                        InetSocketAddress.createUnresolved("home.example.org", 9274),
                        InetSocketAddress.createUnresolved("10.0.0.2", 1),
                        InetSocketAddress.createUnresolved("fe80::1", 65_535)),
                Setting.parseAddresses("home.example.org:9274, 10.0.0.2:1,[fe80::1]:65535"));
        assertEquals(List.of(), Setting.parseAddresses(""));
    }

    @ParameterizedTest
    @ValueSource(
            strings = {"host", "host:", ":1", "host:0", "host:65536", "a b:1", "host:1,", ",host:1", "fe80::1:9274x"})
    void whatIsNoAddressIsRefused(String text) {
        assertThrows(IllegalArgumentException.class, () -> Setting.ADVERTISE.check(text));
    }

    @ParameterizedTest
    @ValueSource(strings = {"a b", "ä", "a/b", "x\n"})
    void whatIsNoNameIsRefused(String text) {
        assertThrows(IllegalArgumentException.class, () -> Setting.NODE_NAME.check(text));
    }
}
