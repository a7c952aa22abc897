package blocktree.cluster.raft;

import blocktree.cluster.AgreementException;
import com.google.protobuf.ByteString;
import java.util.concurrent.CompletableFuture;
import org.jspecify.annotations.Nullable;

/** An entry on its way into the order. */
final class Proposal {
    private final long id;
    private final ByteString entry;
    private final boolean forPeer;
    private final long deadlineNanos;
    private final CompletableFuture<Void> result = new CompletableFuture<>();

    private volatile boolean gone;
    private volatile @Nullable AgreementException refusal;

    /** @param forPeer whether another node asks, which finds the leader by itself when this is not the one */
    Proposal(long id, ByteString entry, boolean forPeer, long deadlineNanos) {
        this.id = id;
        this.entry = entry;
        this.forPeer = forPeer;
        this.deadlineNanos = deadlineNanos;
    }

    /** Unique in the life of this voter. */
    long id() {
        return id;
    }

    ByteString entry() {
        return entry;
    }

    boolean isForPeer() {
        return forPeer;
    }

    long remainingMillis() {
        return Math.max(0, (deadlineNanos - System.nanoTime()) / 1_000_000);
    }

    CompletableFuture<Void> result() {
        return result;
    }

    /** From now on it may get into the order whatever happens here. */
    void setGone() {
        gone = true;
    }

    /** Takes that back: whoever had it says that it did not. */
    void setNotGone() {
        gone = false;
    }

    boolean isGone() {
        return gone;
    }

    void refuse(AgreementException why) {
        refusal = why;
    }

    @Nullable
    AgreementException refusal() {
        return refusal;
    }

    void fail(AgreementException why) {
        result.completeExceptionally(why);
    }
}
