package blocktree.cluster;

import blocktree.crypto.PrincipalId;
import com.google.protobuf.ByteString;
import java.util.concurrent.CompletableFuture;

/** What the voters' entries are applied to: on each the same, in the same order. */
public interface Machine {

    /** Where in the order an entry is: the term in which a leader put it there, and its index. */
    record Mark(long term, long index) {

        /** Nothing was applied yet. */
        public static final Mark NONE = new Mark(0, -1);
    }

    /** The newest entry that is applied, so that whoever looks sees it; nobody who waits for an entry is told before. After a restart, the newest whose effect is there. */
    Mark applied();

    /**
     * On the leader, before an entry is put into the order: the entry as all shall see it, with the leader's time.
     *
     * @throws AgreementException REFUSED when no voter would accept it: it does not get in
     */
    ByteString admit(ByteString proposed) throws AgreementException;

    /**
     * On each voter, the leader too: completes when all that the entry names, and that does not travel within it, is on this voter's
     * device. Until then this voter does not acknowledge the entry; others can. Must not block. Asked again after a restart; the future is
     * cancelled when no log has the entry any more.
     */
    CompletableFuture<Void> prepare(ByteString entry);

    /**
     * Applies an entry that a majority holds; on one thread, in order, each once, except that after a crash those behind {@link #applied}
     * come again. Entries of the engine's own have no bytes: only their mark is to be kept. That the tree refuses an entry is a result
     * like any other; an exception stops this voter, which must not go on when it cannot do what the others do.
     */
    void apply(Mark mark, ByteString entry) throws Exception;

    /** Brings all that is applied to the device, and tells up to where: entries below are needed no more after a crash. */
    Mark sync() throws Exception;

    /**
     * The others no longer have the entries that this voter needs next: takes the state over from {@code leader}. Completes with the
     * newest entry that it covers, once it is on the device. Called again when it fails.
     */
    CompletableFuture<Mark> catchUp(PrincipalId leader);
}
