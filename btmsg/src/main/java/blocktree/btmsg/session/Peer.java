package blocktree.btmsg.session;

import blocktree.btmsg.session.MessageException.Code;
import blocktree.crypto.PrincipalId;
import io.netty.channel.EventLoop;
import java.net.InetSocketAddress;
import java.time.Duration;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import org.jspecify.annotations.Nullable;

/**
 * Another node, seen from this one. There is one object for each principal that was asked for, as long as the messenger lives, with a
 * session or without; one that has come of itself and that nobody has asked for is forgotten with its last session, once nothing is
 * under way for it. Thread-safe.
 */
public final class Peer {

    /** Two sessions are opened at the same time when the older is no older than so many times what a greeting may take: there are two. */
    private static final int AT_ONCE_GREETINGS = 3;

    private final Messenger messenger;
    private final PrincipalId principal;
    private final PeerCounters counters = new PeerCounters();
    private final Dialler dialler;
    private final Served served;

    // guarded by this
    private boolean kept;
    private boolean forgotten;
    private @Nullable Session session;
    /** With the one that counts. */
    private final Set<Session> all = new HashSet<>();

    private CompletableFuture<Void> connected = new CompletableFuture<>();

    Peer(Messenger messenger, PrincipalId principal, EventLoop loop) {
        this.messenger = messenger;
        this.principal = principal;
        this.dialler = new Dialler(messenger, this, loop);
        this.served = new Served(messenger.limits(), () -> messenger.forgetUnlessUsed(this));
    }

    public PrincipalId principal() {
        return principal;
    }

    /** Whether there is a session. */
    public boolean isConnected() {
        return session() != null;
    }

    /** Completes once there is a session, at once when there is. Its dependents must not block. */
    public synchronized CompletableFuture<Void> whenConnected() {
        return connected.copy();
    }

    /** Who is at the other end; null without a session. */
    public @Nullable PeerIdentity identity() {
        Session current = session();
        return current == null ? null : current.peer();
    }

    /** The protocol's version in this session; 0 without one. */
    public int version() {
        Session current = session();
        return current == null ? 0 : current.terms().version();
    }

    /**
     * Where to find it, the most trusted first; empty: this node does not dial it. While there is no session they are tried, beginning
     * now, unless they are the same as before. Names are looked up at each try.
     */
    public void setAddresses(List<InetSocketAddress> addresses) {
        dialler.useAddresses(addresses);
    }

    /**
     * Asks a service of the peer. The future gives the body of the reply, or fails with a {@link MessageException}; cancelling it tells
     * the peer that nobody waits. It is completed on an event loop: what depends on it must not block.
     *
     * @param body at most 1 MiB less 1 KiB; not to be changed before the future is complete
     * @param timeout from a millisecond to an hour; the peer keeps it too
     */
    public CompletableFuture<byte[]> request(String service, byte[] body, Duration timeout) {
        Service.checkName(service);
        long timeoutMillis = timeout.toMillis();
        if (timeoutMillis < 1 || timeoutMillis > MessageLane.TIMEOUT_MILLIS_MAX) {
            throw new IllegalArgumentException("a request has a millisecond to an hour, not " + timeout);
        }
        counters.requests.increment();
        CompletableFuture<byte[]> reply = ask(service, body, timeoutMillis);
        reply.whenComplete((answer, failure) -> {
            if (failure != null) {
                counters.failures.increment();
            }
        });
        return reply;
    }

    private CompletableFuture<byte[]> ask(String service, byte[] body, long timeoutMillis) {
        // A session that was just replaced has a successor.
        for (Session current = session(), tried = null; current != null && current != tried; current = session()) {
            CompletableFuture<byte[]> reply = current.messages().request(service, body, timeoutMillis);
            if (reply != null) {
                return reply;
            }
            tried = current;
        }
        return CompletableFuture.failedFuture(disconnected());
    }

    /** Sends a message that is not answered, and may be lost without notice. Returns before it is sent. */
    public void oneWay(String service, byte[] body) throws MessageException {
        Service.checkName(service);
        for (Session current = session(), tried = null; current != null && current != tried; current = session()) {
            if (current.messages().oneWay(service, body)) {
                return;
            }
            tried = current;
        }
        throw disconnected();
    }

    /**
     * Opens a stream to a service of the peer; that there is none shows when it is used. To be closed.
     *
     * @param header at most 64 KiB
     * @param patience how long each read or write may wait for the peer
     */
    public PeerStream openStream(String service, byte[] header, Duration patience) throws MessageException {
        Service.checkName(service);
        Session current = session();
        StreamLane lane = current == null ? null : current.streams();
        if (lane == null) {
            throw disconnected();
        }
        return lane.open(service, header, patience);
    }

    public PeerStats stats() {
        Session current;
        long bytesIn;
        long bytesOut;
        synchronized (this) {
            current = session;
            bytesIn = counters.bytesIn.sum();
            bytesOut = counters.bytesOut.sum();
            for (Session one : all) {
                bytesIn += one.bytesIn();
                bytesOut += one.bytesOut();
            }
        }
        return new PeerStats(
                current != null,
                current == null ? 0 : current.messages().rttNanos(),
                current == null ? 0 : current.terms().clockDifferenceMillis(),
                bytesIn,
                bytesOut,
                counters.requests.sum(),
                counters.failures.sum(),
                counters.sessions.sum());
    }

    private MessageException disconnected() {
        return new MessageException(Code.DISCONNECTED, "no session with " + principal);
    }

    private synchronized @Nullable Session session() {
        return session;
    }

    Dialler dialler() {
        return dialler;
    }

    Served served() {
        return served;
    }

    synchronized List<Session> sessions() {
        return List.copyOf(all);
    }

    /** False when it is forgotten, and there has to be another in its place. */
    synchronized boolean keep() {
        kept = true;
        return !forgotten;
    }

    /** Whether nobody knows it any more. */
    synchronized boolean forgetUnlessUsed() {
        forgotten |= !kept && all.isEmpty() && served.isNothing();
        return forgotten;
    }

    /**
     * Of two sessions that the two nodes have opened at the same time, the one that the lower principal opened stays: both sides find
     * the same without asking. Of two that the same node opened, or of which one is old, the newer: nobody would have opened it with
     * the other whole. The one that is replaced finishes what is under way; those before it end. False when this peer is forgotten.
     */
    boolean begin(Session begun) {
        Session replaced;
        List<Session> older;
        CompletableFuture<Void> nowConnected;
        synchronized (this) {
            if (forgotten || begun.isOver()) {
                return !forgotten;
            }
            counters.sessions.increment();
            all.add(begun);
            Session current = session;
            boolean selfIsLower = messenger.self().compareTo(principal) < 0;
            boolean stays = current == null
                    || current.lastedMillis()
                            > AT_ONCE_GREETINGS * messenger.limits().times().greetingMillis()
                    || current.terms().dialled() == begun.terms().dialled()
                    || begun.terms().dialled() == selfIsLower;
            if (stays) {
                session = begun;
            }
            Session drained = stays ? current : begun;
            Session staying = session;
            older = all.stream().filter(one -> one != drained && one != staying).toList();
            replaced = drained;
            nowConnected = connected;
        }
        older.forEach(one -> one.lose("replaced twice"));
        if (replaced != null) {
            replaced.messages().drain();
        }
        nowConnected.complete(null);
        return true;
    }

    /** Whether the peer has no session now, and had one. */
    boolean end(Session ended) {
        synchronized (this) {
            if (!all.remove(ended)) {
                return false;
            }
            counters.bytesIn.add(ended.bytesIn());
            counters.bytesOut.add(ended.bytesOut());
            if (session != ended) {
                return false;
            }
            session = null;
            connected = new CompletableFuture<>();
        }
        dialler.sessionEnded(ended.lastedMillis() >= messenger.limits().times().stableMillis());
        return true;
    }

    @Override
    public String toString() {
        return "Peer[" + principal + (isConnected() ? ", connected]" : "]");
    }
}
