package blocktree.btmsg.session;

import blocktree.crypto.Authority;
import blocktree.crypto.Identity;
import blocktree.crypto.WriteCapabilityChain;
import java.time.Clock;
import java.util.function.LongSupplier;

/**
 * What a messenger is made of.
 *
 * @param node signs for this node; stays the caller's, and open for as long as the messenger is
 * @param chain through which {@code node} may run a node
 * @param authority the records that this node has applied
 * @param logTimeMillis log time of the newest entry that this node has applied
 * @param nodePath what this node calls itself
 * @param software name and version of this program, for peers' logs
 * @param clock wall clock, for the times of certificates
 */
public record MessengerOptions(
        Identity node,
        WriteCapabilityChain chain,
        Authority authority,
        LongSupplier logTimeMillis,
        String nodePath,
        String software,
        Platform platform,
        Limits limits,
        Clock clock) {

    /** With the best platform of this machine and the usual limits. */
    public static MessengerOptions of(
            Identity node,
            WriteCapabilityChain chain,
            Authority authority,
            LongSupplier logTimeMillis,
            String nodePath,
            String software) {
        return new MessengerOptions(
                node,
                chain,
                authority,
                logTimeMillis,
                nodePath,
                software,
                Platform.best(),
                Limits.DEFAULT,
                Clock.systemUTC());
    }

    public MessengerOptions withPlatform(Platform other) {
        return new MessengerOptions(node, chain, authority, logTimeMillis, nodePath, software, other, limits, clock);
    }

    public MessengerOptions withLimits(Limits other) {
        return new MessengerOptions(node, chain, authority, logTimeMillis, nodePath, software, platform, other, clock);
    }

    public MessengerOptions withClock(Clock other) {
        return new MessengerOptions(node, chain, authority, logTimeMillis, nodePath, software, platform, limits, other);
    }
}
