package blocktree.cluster;

import blocktree.crypto.PrincipalId;
import com.google.protobuf.ByteString;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import org.jspecify.annotations.Nullable;

/**
 * Puts entries into one order on all voters, each of which applies them to its {@link Machine}; seen from a voter, or from a node that follows them. Knows nothing of
 * what entries say. Thread-safe.
 */
public interface Agreement extends AutoCloseable {

    /**
     * Has an entry put into the order, by the leader, wherever it is. Completes when a majority holds it: it will be applied by all, here
     * too, be it later. Fails when the leader's machine refuses it ({@link Machine#admit}) with that refusal's message in an
     * {@link AgreementException} of the code REFUSED; with NO_LEADER when there is none to be found in time, in which case it was not
     * put in the order; and with UNKNOWN when nobody can tell whether it was.
     */
    CompletableFuture<Void> propose(ByteString entry);

    /**
     * What is in the order behind the index {@code after} and up to {@code upTo}, which is applied here: as much of it, from its beginning, as has {@code sizeBytesMax}
     * bytes, and one at least. Null when this node has not kept it.
     */
    @Nullable
    List<OrderedEntry> entries(long after, long upTo, int sizeBytesMax);

    /** Whether this node votes, as far as it knows. */
    boolean isVoter();

    /** Where this node stands now. */
    AgreementStatus status();

    /** Changes who votes, one or several at a time; this node must be the leader. Completes when it is so; fails as {@link #propose}. */
    CompletableFuture<Void> setVoters(List<PrincipalId> voters);

    /** Hands leadership to another voter; {@code to} null chooses one. Fails when it did not come about in time, this node leads on then. */
    CompletableFuture<Void> handOver(@Nullable PrincipalId to);

    /** Hands leadership over if this node leads and somebody can take it within a second, then stops taking part. */
    @Override
    void close();
}
