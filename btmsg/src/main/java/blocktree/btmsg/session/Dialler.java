package blocktree.btmsg.session;

import blocktree.crypto.PrincipalId;
import io.netty.channel.EventLoop;
import io.netty.util.concurrent.ScheduledFuture;
import java.net.InetSocketAddress;
import java.util.List;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Tries to reach one peer while there is no session with it: each address in turn, beginning with the one that worked last, and after
 * all of them a random part of a time that doubles. Its state is that of one event loop.
 */
final class Dialler {
    private static final Logger log = LoggerFactory.getLogger(Dialler.class);

    private final Messenger messenger;
    private final Peer peer;
    private final EventLoop loop;

    // of the event loop
    private List<InetSocketAddress> addresses = List.of();
    private int next;
    private int failures;
    private boolean dialling;
    /** A try that was begun before the newest is of no interest: what it was about has changed. */
    private long tries;

    private boolean stopped;
    private @Nullable ScheduledFuture<?> waiting;
    private Refusal.@Nullable Code refusedFor;

    Dialler(Messenger messenger, Peer peer, EventLoop loop) {
        this.messenger = messenger;
        this.peer = peer;
        this.loop = loop;
    }

    /** Tries at once when these are others than before. */
    void useAddresses(List<InetSocketAddress> others) {
        onLoop(() -> {
            if (addresses.equals(others)) {
                return;
            }
            addresses = List.copyOf(others);
            next = 0;
            tryAtOnce();
        });
    }

    void networkChanged() {
        onLoop(this::tryAtOnce);
    }

    void stop() {
        onLoop(() -> stopped = true);
    }

    /** A session has ended, after which there is none. */
    void sessionEnded(boolean wasStable) {
        onLoop(() -> {
            failures = wasStable ? 0 : failures + 1;
            waitThenTry();
        });
    }

    /** Whatever is under way: it may wait for an answer by a way that is no more. */
    private void tryAtOnce() {
        failures = 0;
        dialling = false;
        tries++;
        if (waiting != null) {
            waiting.cancel(false);
        }
        tryNext();
    }

    private void tryNext() {
        waiting = null;
        if (stopped || dialling || addresses.isEmpty() || peer.isConnected()) {
            return;
        }
        dialling = true;
        long thisTry = ++tries;
        int index = next;
        InetSocketAddress address = addresses.get(index);
        next = (index + 1) % addresses.size();
        messenger
                .dial(peer.principal(), address)
                .whenComplete((session, failure) -> onLoop(() -> {
                    if (thisTry != tries) {
                        return;
                    }
                    dialling = false;
                    if (failure == null) {
                        refusedFor = null;
                        next = index;
                    } else {
                        failed(address, failure);
                    }
                    waitThenTry();
                }));
    }

    private void failed(InetSocketAddress address, Throwable failure) {
        Refusal refusal = failure instanceof DialException e ? e.refusal() : null;
        PrincipalId principal = peer.principal();
        if (refusal != null && refusal.code() != refusedFor) {
            log.atWarn()
                    .addKeyValue("peer", principal)
                    .addKeyValue("address", address)
                    .addKeyValue("refusal", refusal.code())
                    .addKeyValue("reason", refusal.text())
                    .log("peer_refused");
        } else {
            log.atDebug()
                    .addKeyValue("peer", principal)
                    .addKeyValue("address", address)
                    .addKeyValue("reason", failure.getMessage())
                    .log("peer_unreachable");
        }
        refusedFor = refusal == null ? null : refusal.code();
        failures++;
    }

    private void waitThenTry() {
        if (stopped || dialling || waiting != null || addresses.isEmpty() || peer.isConnected()) {
            return;
        }
        Limits.Times times = messenger.limits().times();
        boolean restOfRound = failures > 0 && failures % addresses.size() != 0;
        int rounds = Math.min(20, failures / addresses.size());
        long boundMillis = Math.min(times.redialMillisMax(), times.redialMillis() << Math.max(0, rounds - 1));
        long waitMillis = restOfRound ? 0 : ThreadLocalRandom.current().nextLong(boundMillis + 1);
        waiting = loop.schedule(this::tryNext, waitMillis, TimeUnit.MILLISECONDS);
    }

    private void onLoop(Runnable task) {
        Loops.execute(loop, task);
    }
}
