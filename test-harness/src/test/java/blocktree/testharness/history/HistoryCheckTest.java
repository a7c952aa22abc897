package blocktree.testharness.history;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import blocktree.testharness.history.Operation.Kind;
import blocktree.testharness.history.Operation.Outcome;
import java.nio.file.Path;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The judge judged: histories made by hand that break each rule, and those that only look as if they did. Times are milliseconds. */
class HistoryCheckTest {
    private static final long MILLI = 1_000_000;
    private static final Bounds BOUNDS = new Bounds(100 * MILLI, 50 * MILLI, 1_000 * MILLI);
    private static final Name REGISTER = new Name(Name.Kind.OVERWRITTEN, 0);
    private static final Name SAVED = new Name(Name.Kind.REPLACED, 0);
    private static final Name CREATED = new Name(Name.Kind.CREATED, 0);
    private static final Name MADE = new Name(Name.Kind.MADE, 0);

    private final History history = new History(0);

    // ---- a history, line by line ----

    private void add(int node, Kind kind, Name name, String value, Outcome outcome, String errno, long... millis) {
        history.add(new Operation(
                node,
                node,
                kind,
                name,
                value,
                outcome,
                errno,
                millis[0] * MILLI,
                millis[1] * MILLI,
                millis[2] * MILLI));
    }

    private void synced(int node, String value, long from, long made, long to) {
        add(node, Kind.WRITE, REGISTER, value, Outcome.SYNCED, "", from, made, to);
    }

    private void written(int node, String value, long from, long to) {
        add(node, Kind.WRITE, REGISTER, value, Outcome.DONE, "", from, to, to);
    }

    private void unknown(int node, String value, String errno, long from, long to) {
        add(node, Kind.WRITE, REGISTER, value, Outcome.UNKNOWN, errno, from, to, to);
    }

    private void read(int node, String value, long from, long to) {
        add(node, Kind.READ, REGISTER, value, Outcome.DONE, "", from, to, to);
    }

    private void taken(int node, Name name, String value, Outcome outcome, long from, long to) {
        add(node, Kind.ACQUIRE, name, value, outcome, "", from, to, to);
    }

    private void freed(int node, Name name, Outcome outcome, long from, long to) {
        add(node, Kind.RELEASE, name, "", outcome, "", from, to, to);
    }

    private void killed(int node, long from, long to) {
        history.add(new History.Loss(node, true, from * MILLI, to * MILLI));
    }

    private void said(int node, long at) {
        history.add(new History.Loss(node, false, at * MILLI, (at + 1) * MILLI));
    }

    private void quiet(long from, long to) {
        history.add(new History.Quiet(from * MILLI, to * MILLI));
    }

    private void assertFine() {
        assertEquals(List.of(), problems(Map.of()));
    }

    private void assertProblem(String beginning) {
        assertProblem(beginning, Map.of());
    }

    private void assertProblem(String beginning, Map<Name, String> atEnd) {
        List<String> problems = problems(atEnd);
        assertEquals(
                1, problems.size(), () -> String.join("\n", problems) + "\n\n" + String.join("\n", history.lines()));
        assertTrue(problems.get(0).startsWith(beginning), problems.get(0));
    }

    private List<String> problems(Map<Name, String> atEnd) {
        return new HistoryCheck(history, BOUNDS).problems(atEnd);
    }

    // ---- what was read ----

    @Test
    void whatNobodyWroteIsSeen() {
        synced(0, "a", 0, 1, 2);
        read(1, "b", 3, 4);
        assertProblem("never written: ");
    }

    @Test
    void whatWasWrittenToAnotherNameIsSeen() {
        add(0, Kind.WRITE, SAVED, "a", Outcome.SYNCED, "", 0, 1, 2);
        read(1, "a", 3, 4);
        assertProblem("never written: ");
    }

    @Test
    void whatWasRefusedIsSeen() {
        synced(0, "a", 0, 1, 2);
        add(0, Kind.WRITE, REGISTER, "b", Outcome.REFUSED, "", 3, 4, 4);
        read(0, "b", 5, 6);
        assertProblem("never written: ");
    }

    @Test
    void aReadBeforeTheWriteIsSeen() {
        read(1, "a", 0, 1);
        written(0, "a", 2, 3);
        assertProblem("read before it was written: ");
    }

    @Test
    void aRegisterThatIsAbsentIsSeen() {
        synced(0, "a", 0, 1, 2);
        read(0, Operation.ABSENT, 3, 4);
        assertProblem("never written: ");
    }

    @Test
    void halfAValueIsATornOne() {
        byte[] content = HistoryClient.content("1.2-3-300");
        assertEquals("1.2-3-300", HistoryClient.valueOf(content));
        byte[] half = HistoryClient.content("0.1-2-300");
        System.arraycopy(half, 0, content, 0, 150);
        assertTrue(HistoryClient.valueOf(content).startsWith(Operation.TORN));
        assertTrue(HistoryClient.valueOf(new byte[300]).startsWith(Operation.TORN));
        assertEquals(Operation.EMPTY, HistoryClient.valueOf(new byte[0]));
    }

    // ---- the order of writes ----

    @Test
    void anOlderValueOnTheNodeThatSyncedIsSeen() {
        synced(0, "a", 0, 1, 2);
        synced(0, "b", 3, 4, 5);
        read(0, "a", 6, 7);
        assertProblem("no order of writes");
    }

    @Test
    void anOlderValueAfterARestartOfTheNodeThatSyncedIsSeen() {
        synced(0, "a", 0, 1, 2);
        synced(0, "b", 3, 4, 5);
        killed(0, 10, 20);
        read(0, "a", 30, 31);
        assertProblem("no order of writes");
    }

    @Test
    void anOwnWriteThatIsGoneWithoutACrashIsSeen() {
        synced(0, "a", 0, 1, 2);
        written(0, "b", 3, 4);
        read(0, "a", 6, 7);
        assertProblem("no order of writes");
    }

    @Test
    void anOwnWriteMayBeGoneAfterACrash() {
        synced(0, "a", 0, 1, 2);
        written(0, "b", 3, 4);
        read(0, "b", 5, 5);
        killed(0, 6, 10);
        read(0, "a", 11, 12);
        assertFine();
    }

    @Test
    void anOwnWriteMayBeGoneWhereTheNodeSaysSo() {
        synced(1, "a", 0, 1, 2);
        written(0, "b", 3, 4);
        written(1, "c", 5, 6);
        said(0, 10);
        read(0, "c", 11, 12);
        read(1, "c", 11, 12);
        assertFine();
    }

    @Test
    void aCrashOfAnotherNodeIsNoReason() {
        synced(0, "a", 0, 1, 2);
        written(0, "b", 3, 4);
        killed(1, 6, 10);
        read(0, "a", 11, 12);
        assertProblem("no order of writes");
    }

    @Test
    void whatAnotherNodeHasSeenIsNeverLost() {
        synced(0, "a", 0, 1, 2);
        written(0, "b", 3, 4);
        read(1, "b", 5, 6);
        killed(0, 8, 10);
        read(0, "a", 11, 12);
        assertProblem("no order of writes");
    }

    @Test
    void whatWasNotSyncedIsThereOnceItHadTimeAndQuiet() {
        synced(0, "a", 0, 1, 2);
        quiet(2, 90);
        written(0, "b", 3, 4);
        killed(0, 100, 110);
        read(0, "a", 120, 121);
        assertProblem("no order of writes");
    }

    @Test
    void aNodeThatGoesBackIsSeen() {
        synced(0, "a", 0, 1, 2);
        synced(0, "b", 3, 4, 5);
        read(1, "b", 6, 7);
        read(1, "a", 8, 9);
        assertProblem("no order of writes");
    }

    @Test
    void aNodeThatIsOldIsNot() {
        synced(0, "a", 0, 1, 2);
        synced(0, "b", 3, 4, 5);
        read(1, "a", 6, 2_000);
        read(2, "b", 8, 9);
        read(1, "b", 2_001, 2_002);
        assertFine();
    }

    @Test
    void aNodeThatIsOldThoughNothingHappensIs() {
        synced(0, "a", 0, 1, 2);
        quiet(2, 1_000);
        synced(0, "b", 3, 4, 5);
        read(1, "a", 90, 91);
        assertFine();
        read(1, "a", 106, 107);
        assertProblem("no order of writes");
    }

    @Test
    void aValueThatWasOverwrittenOnAnotherNodeDoesNotComeBack() {
        synced(0, "a", 0, 1, 2);
        synced(1, "b", 3, 4, 5);
        read(1, "a", 500, 501);
        assertProblem("no order of writes");
    }

    @Test
    void twoNodesThatSawTwoOrdersAreSeen() {
        synced(2, "z", 0, 0, 0);
        unknown(0, "a", "", 1, 50);
        unknown(1, "b", "", 1, 50);
        read(2, "a", 10, 11);
        read(2, "b", 12, 13);
        read(3, "b", 10, 11);
        read(3, "a", 12, 13);
        assertProblem("no order of writes");
    }

    @Test
    void aWriteThatFailedMayBeThereOrNot() {
        synced(0, "z", 0, 0, 0);
        unknown(0, "a", "EIO", 1, 5);
        read(0, "z", 6, 7);
        read(0, "a", 8, 9);
        unknown(0, "b", "EIO", 10, 12);
        read(0, "a", 13, 14);
        assertFine();
    }

    @Test
    void aWriteInThePagesOfItsOwnMountIsNotYetOneForOthers() {
        synced(1, "z", 0, 0, 0);
        written(0, "a", 1, 50);
        read(0, "a", 5, 6);
        written(1, "b", 10, 20);
        read(0, "b", 25, 26);
        read(0, "a", 51, 52);
        assertFine();
    }

    @Test
    void aValueThatIsOlderInTheEndIsSeen() {
        synced(0, "a", 0, 1, 2);
        synced(1, "b", 3, 4, 5);
        quiet(10, 1_000);
        for (int node = 0; node < 3; node++) {
            read(node, "a", 900, 901);
        }
        assertProblem("no order of writes");
    }

    // ---- names that only one can have ----

    @Test
    void aNameThatTwoHaveTakenIsSeen() {
        taken(0, CREATED, "a", Outcome.SYNCED, 0, 10);
        taken(1, CREATED, "b", Outcome.SYNCED, 5, 15);
        assertProblem("taken twice: ");
    }

    @Test
    void aNameThatTwoHaveTakenInTurnIsNot() {
        taken(0, CREATED, "a", Outcome.SYNCED, 0, 10);
        freed(2, CREATED, Outcome.DONE, 8, 12);
        taken(1, CREATED, "b", Outcome.SYNCED, 5, 15);
        assertFine();
    }

    @Test
    void aReleaseAtTheWrongTimeExplainsNothing() {
        taken(0, MADE, "a", Outcome.SYNCED, 10, 20);
        taken(1, MADE, "b", Outcome.SYNCED, 30, 40);
        freed(2, MADE, Outcome.DONE, 60, 70);
        assertProblem("taken twice: ");
    }

    @Test
    void aReleaseThatMayHaveBeenMadeExplains() {
        taken(0, MADE, "a", Outcome.SYNCED, 0, 10);
        freed(2, MADE, Outcome.UNKNOWN, 11, 12);
        taken(1, MADE, "b", Outcome.SYNCED, 20, 25);
        assertFine();
    }

    @Test
    void aNameMayBeTakenAgainAfterItWasLost() {
        taken(0, MADE, "a", Outcome.DONE, 0, 10);
        killed(0, 11, 20);
        taken(1, MADE, "b", Outcome.SYNCED, 30, 40);
        assertFine();
    }

    @Test
    void aNameThatWasSyncedIsNotLost() {
        taken(0, MADE, "a", Outcome.SYNCED, 0, 10);
        killed(0, 11, 20);
        taken(1, MADE, "b", Outcome.SYNCED, 30, 40);
        assertProblem("taken twice: ");
    }

    @Test
    void aNameBeforeASyncOfTheSameNodeIsNotLost() {
        taken(0, MADE, "a", Outcome.DONE, 0, 10);
        synced(0, "z", 11, 12, 13);
        killed(0, 14, 20);
        taken(1, MADE, "b", Outcome.SYNCED, 30, 40);
        assertProblem("taken twice: ");
    }

    @Test
    void aNameThatTwoHaveGivenFreeIsSeen() {
        taken(0, MADE, "a", Outcome.SYNCED, 0, 10);
        freed(1, MADE, Outcome.DONE, 20, 30);
        freed(2, MADE, Outcome.DONE, 25, 35);
        taken(0, MADE, "b", Outcome.UNKNOWN, 90, 91);
        assertProblem("given free twice: ");
    }

    @Test
    void aNameThatNobodyTookAndOneGaveFreeIsSeen() {
        freed(1, MADE, Outcome.DONE, 20, 30);
        assertProblem("given free more often than taken: ");
    }

    @Test
    void aNameThatVanishesIsSeen() {
        taken(0, MADE, "a", Outcome.SYNCED, 0, 10);
        add(0, Kind.READ, MADE, Operation.ABSENT, Outcome.DONE, "", 11, 12, 12);
        assertProblem("vanished: ");
    }

    @Test
    void aFileThatComesBackIsSeen() {
        taken(0, CREATED, "a", Outcome.SYNCED, 0, 10);
        freed(0, CREATED, Outcome.SYNCED, 11, 20);
        add(0, Kind.READ, CREATED, "a", Outcome.DONE, "", 21, 22, 22);
        assertProblem("came back: ");
    }

    @Test
    void aFileThatIsStillThereElsewhereIsNot() {
        taken(0, CREATED, "a", Outcome.SYNCED, 0, 10);
        freed(0, CREATED, Outcome.SYNCED, 11, 20);
        add(1, Kind.READ, CREATED, "a", Outcome.DONE, "", 21, 22, 22);
        assertFine();
    }

    @Test
    void aSyncedFileThatIsEmptyIsSeen() {
        taken(0, CREATED, "a", Outcome.SYNCED, 0, 10);
        killed(0, 11, 20);
        add(0, Kind.READ, CREATED, Operation.EMPTY, Outcome.DONE, "", 21, 22, 22);
        assertProblem("emptied: ");
    }

    @Test
    void aNameThatIsLostInTheEndIsSeen() {
        taken(0, CREATED, "a", Outcome.SYNCED, 0, 10);
        assertEquals(List.of(), problems(Map.of(CREATED, "a")));
        assertProblem("lost: ", Map.of(CREATED, Operation.ABSENT));
    }

    @Test
    void aNameThatIsBackInTheEndIsSeen() {
        taken(0, MADE, "a", Outcome.SYNCED, 0, 10);
        freed(1, MADE, Outcome.SYNCED, 11, 20);
        assertEquals(List.of(), problems(Map.of(MADE, Operation.ABSENT)));
        assertProblem("came back: ", Map.of(MADE, Operation.EMPTY));
    }

    // ---- failures and time ----

    @Test
    void anErrorWhileNothingIsDoneToTheClusterIsSeen() {
        synced(0, "a", 0, 1, 2);
        unknown(0, "b", "EROFS", 20, 30);
        assertFine();
        quiet(10, 100);
        assertProblem("failed: ");
    }

    @Test
    void anErrorThatNothingExplainsIsSeen() {
        synced(0, "a", 0, 1, 2);
        unknown(0, "b", "EACCES", 20, 30);
        assertProblem("failed: ");
    }

    @Test
    void aMountThatIsGoneWhileItsNodeRunsIsSeen() {
        synced(0, "a", 0, 1, 2);
        unknown(0, "b", "ENOTCONN", 20, 30);
        killed(1, 20, 30);
        assertProblem("failed: ");
        killed(0, 25, 30);
        assertFine();
    }

    @Test
    void aCallThatTakesTooLongIsSeen() {
        synced(0, "a", 0, 1, 5_000);
        quiet(3_000, 3_900);
        assertFine();
        synced(0, "b", 6_000, 6_000, 7_500);
        quiet(6_100, 8_000);
        assertProblem("slow: ");
    }

    // ---- clients ----

    /** Three mounts that are one directory, on a file system that does all that is asked for. */
    @Test
    void clientsOfAPlainDirectoryHaveAFineHistory(@TempDir Path directory) throws Exception {
        History seen = new History(System.nanoTime());
        HistoryLoad load = new HistoryLoad(seen, Collections.nCopies(3, directory), "load", 2, 5);
        load.prepare(1_000);
        load.start();
        load.probe(1_000);
        Thread.sleep(2_000);
        load.stop();
        Thread.sleep(150);
        List<Map<Name, String>> atEnd = load.atEnd();
        seen.add(new History.Quiet(0, seen.now()));
        assertEquals(List.of(), load.failures());
        assertEquals(List.of(), new HistoryCheck(seen, BOUNDS).problems(atEnd.get(0)));
        assertTrue(
                seen.operations().size() > 300,
                () -> "only " + seen.operations().size());
        for (Kind kind : Kind.values()) {
            assertTrue(
                    seen.operations().stream().anyMatch(each -> each.kind() == kind && each.isSuccess()), kind.name());
        }
    }
}
