package blocktree.btmsg.session;

import blocktree.crypto.Hash;
import blocktree.crypto.NodeProof;
import blocktree.crypto.PrincipalId;
import blocktree.crypto.WriteCapabilityChain;
import com.google.protobuf.ByteString;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.UnknownHostException;
import java.security.SecureRandom;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.RejectedExecutionException;
import java.util.function.Predicate;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * This node among its peers: listens, dials, keeps one session with each, and answers for its services (docs/messages.md). Event loops
 * decode, route and enforce limits; services have threads of their own. Thread-safe.
 */
public final class Messenger implements AutoCloseable {
    private static final int TURNED_AWAY_LOGGED_PER_MINUTE = 10;

    /** Anybody can make themselves a tree, or a statement of any time, and be refused for it. */
    private static final Set<Refusal.Code> STRANGE =
            Set.of(Refusal.Code.OTHER_TREE, Refusal.Code.UNKNOWN_ISSUER, Refusal.Code.CLOCK);

    private static final SecureRandom RANDOM = new SecureRandom();

    private static final Logger log = LoggerFactory.getLogger(Messenger.class);

    /** A session whose connection for streams is awaited. */
    record Pending(ByteString sessionId, Session session) {}

    private final MessengerOptions options;
    private final Protocol protocol;
    private final Admission admission;
    private final Transport transport;
    private final Services services = new Services();
    private final HalfOpen halfOpen;
    private final Map<PrincipalId, Peer> peers = new ConcurrentHashMap<>();
    private final Map<PrincipalId, Pending> pending = new ConcurrentHashMap<>();
    private final LogGate strangers = new LogGate(TURNED_AWAY_LOGGED_PER_MINUTE, 60_000);
    /** Apart, so that no stranger hides why a node was refused. */
    private final LogGate proven = new LogGate(TURNED_AWAY_LOGGED_PER_MINUTE, 60_000);

    private volatile boolean closed;

    /** Set once. */
    private volatile @Nullable JoinDesk desk;

    /** Neither listens nor dials yet. */
    public Messenger(MessengerOptions options) {
        this(options, Protocol.CURRENT);
    }

    Messenger(MessengerOptions options, Protocol protocol) {
        this.options = options;
        this.protocol = protocol;
        this.admission =
                new Admission(options.node().id(), options.authority(), options.logTimeMillis(), options.clock());
        this.transport = new TcpTransport(
                options.platform(),
                new Credentials(options.node(), options.chain(), options.platform(), options.clock()),
                options.limits().times().greetingMillis());
        this.halfOpen =
                new HalfOpen(options.limits().halfOpenMax(), options.limits().halfOpenPerAddressMax());
    }

    /** Takes connections at {@code address}; gives the address with the port that was chosen when its port is 0. */
    public InetSocketAddress listen(InetSocketAddress address) throws IOException {
        InetSocketAddress local = transport.listen(address, new Transport.Greetings() {
            @Override
            public @Nullable Greeting newGreeting(InetSocketAddress from) {
                Runnable leave = closed ? null : halfOpen.enter(from.getAddress());
                return leave == null ? null : new AnsweredGreeting(Messenger.this, from, leave);
            }

            @Override
            public boolean awaitsJoiners() {
                JoinDesk open = desk;
                return open != null && open.isOpen();
            }
        });
        log.atInfo().addKeyValue("address", local).log("peers_awaited");
        return local;
    }

    /**
     * Answers machines that bring one of {@code invitations}, from now on, and while there is one (docs/joining.md). Both stay the
     * caller's. IllegalStateException when it is so already.
     */
    public synchronized void welcomeJoiners(Invitations invitations, Certifier certifier) {
        if (desk != null) {
            throw new IllegalStateException("joiners are welcome already");
        }
        desk = new JoinDesk(self(), invitations, certifier);
    }

    /** Offers a service to peers from now on; IllegalArgumentException when its name is taken. */
    public void register(Service service) {
        services.register(service);
    }

    /** Offers the service of this name no more; what is under way goes on. */
    public void unregister(String name) {
        services.unregister(name);
    }

    /** The peer of this principal, dialled only once it is given addresses. */
    public Peer peer(PrincipalId principal) {
        if (principal.equals(self())) {
            throw new IllegalArgumentException("a node is no peer of its own");
        }
        return peer(principal, Peer::keep);
    }

    /** The peer that {@code use} is true of: a forgotten one is replaced. */
    private Peer peer(PrincipalId principal, Predicate<Peer> use) {
        while (true) {
            Peer peer = peers.computeIfAbsent(principal, p -> new Peer(this, p, transport.nextLoop()));
            if (use.test(peer)) {
                return peer;
            }
            peers.remove(principal, peer);
        }
    }

    /** All that were asked for, and all with whom there is a session. */
    public Collection<Peer> peers() {
        return List.copyOf(peers.values());
    }

    /** Says that routes or addresses of this machine have changed: peers that are not connected are dialled at once. */
    public void networkChanged() {
        peers.values().forEach(peer -> peer.dialler().networkChanged());
    }

    /** Says that authority records were applied: sessions with whom may no longer run a node end, before the next ping finds it. */
    public void authorityChanged() {
        for (Peer peer : peers.values()) {
            peer.sessions().forEach(this::expelUnlessWelcome);
        }
    }

    void expelUnlessWelcome(Session session) {
        Refusal refusal = admission.refusalOf(session.peer().chain());
        if (refusal != null) {
            session.leave(Session.Goodbye.EXPELLED, refusal.code() + ": " + refusal.text());
        }
    }

    /** Connections that begin from now on show this chain; IllegalArgumentException when it is another principal's. */
    public void useChain(WriteCapabilityChain renewed) {
        transport.useChain(renewed);
    }

    /** Says goodbye to all, and ends; requests that are open fail. */
    @Override
    public void close() {
        if (closed) {
            return;
        }
        closed = true;
        transport.stopListening();
        for (Peer peer : peers.values()) {
            peer.dialler().stop();
            peer.sessions().forEach(Messenger::leaveClosing);
        }
        pending.values().forEach(one -> one.session().lose("the node stops"));
        services.close();
        JoinDesk open = desk;
        if (open != null) {
            open.close();
        }
        transport.close();
    }

    private static void leaveClosing(Session session) {
        session.leave(Session.Goodbye.CLOSING, "the node stops");
    }

    // For the classes of this package

    /** Dials both connections of a session, at each address of a name until there is one. */
    CompletableFuture<Session> dial(PrincipalId principal, InetSocketAddress address) {
        CompletableFuture<Session> result = new CompletableFuture<>();
        if (!address.isUnresolved()) {
            dial(new Dial(principal, address, result));
            return result;
        }
        try {
            services.streamThreads().execute(() -> lookUpAndDial(principal, address, result));
        } catch (RejectedExecutionException e) {
            result.completeExceptionally(new DialException("the node stops"));
        }
        return result;
    }

    /** Blocks. */
    private void lookUpAndDial(PrincipalId principal, InetSocketAddress name, CompletableFuture<Session> result) {
        try {
            dialInTurn(principal, Addresses.resolve(name), result);
        } catch (UnknownHostException e) {
            result.completeExceptionally(new DialException("no address of " + name.getHostString()));
        }
    }

    /** At least one address. */
    void dialInTurn(PrincipalId principal, List<InetSocketAddress> addresses, CompletableFuture<Session> result) {
        CompletableFuture<Session> first = new CompletableFuture<>();
        first.whenComplete((session, failure) -> {
            if (failure == null) {
                result.complete(session);
            } else if (addresses.size() == 1) {
                result.completeExceptionally(failure);
            } else {
                dialInTurn(principal, addresses.subList(1, addresses.size()), result);
            }
        });
        dial(new Dial(principal, addresses.get(0), first));
    }

    private void dial(Dial dial) {
        byte[] sessionId = new byte[Greeting.SESSION_ID_SIZE_BYTES];
        RANDOM.nextBytes(sessionId);
        connect(dial, ByteString.copyFrom(sessionId), null);
    }

    /** A session's streams; its messages when there is none yet. */
    void connect(Dial dial, ByteString sessionId, @Nullable Session session) {
        transport.connect(dial.address(), new DialledGreeting(this, dial, sessionId, session));
    }

    /** For a connection that was begun while joiners were awaited. */
    AnsweredJoin newJoin(InetSocketAddress from, Hash keyInfo) {
        return new AnsweredJoin(
                Objects.requireNonNull(desk), from, keyInfo, limits().times().greetingMillis());
    }

    PrincipalId self() {
        return options.node().id();
    }

    MessengerOptions options() {
        return options;
    }

    Limits limits() {
        return options.limits();
    }

    Protocol protocol() {
        return protocol;
    }

    Admission admission() {
        return admission;
    }

    Services services() {
        return services;
    }

    HalfOpen halfOpen() {
        return halfOpen;
    }

    boolean hasRoomFor(PrincipalId principal) {
        Peer known = peers.get(principal);
        return known != null && known.isConnected()
                || peers.values().stream().filter(Peer::isConnected).count() < limits().peersMax();
    }

    /** The only one with its principal: an earlier one ends. */
    void addPending(Pending one) {
        Pending earlier = pending.put(one.session().peer().principal(), one);
        if (earlier != null) {
            earlier.session().lose("another session is beginning");
        }
    }

    /** Null when {@code principal} has no session of this id that awaits its streams. */
    @Nullable
    Pending takePending(PrincipalId principal, ByteString sessionId) {
        Pending one = pending.get(principal);
        return one != null && one.sessionId().equals(sessionId) && removePending(one) ? one : null;
    }

    /** Whether its streams were still awaited. */
    boolean removePending(Pending one) {
        return pending.remove(one.session().peer().principal(), one);
    }

    Peer established(Session session) {
        Session.Terms terms = session.terms();
        Peer peer = peer(terms.peer().principal(), known -> known.begin(session));
        log.atInfo()
                .addKeyValue("peer", terms.peer().principal())
                .addKeyValue("address", terms.address())
                .addKeyValue("dialled", terms.dialled())
                .addKeyValue("version", terms.version())
                .addKeyValue("software", terms.peer().software())
                .addKeyValue("clock_difference_millis", terms.clockDifferenceMillis())
                .log("peer_connected");
        // What has changed while it was greeted did not reach it.
        if (closed) {
            leaveClosing(session);
        } else {
            expelUnlessWelcome(session);
        }
        forgetUnlessUsed(peer);
        return peer;
    }

    void ended(Session session, String reason) {
        Peer peer = peers.get(session.peer().principal());
        if (peer == null) {
            return;
        }
        if (peer.end(session)) {
            log.atInfo()
                    .addKeyValue("peer", session.peer().principal())
                    .addKeyValue("lasted_millis", session.lastedMillis())
                    .addKeyValue("reason", reason)
                    .log("peer_lost");
        }
        forgetUnlessUsed(peer);
    }

    void forgetUnlessUsed(Peer peer) {
        if (peer.forgetUnlessUsed()) {
            peers.remove(peer.principal(), peer);
        }
    }

    /** A connection that was answered has come to nothing. */
    void turnedAway(InetSocketAddress from, @Nullable NodeProof proof, @Nullable Refusal told, String reason) {
        boolean isStranger = proof == null || told != null && STRANGE.contains(told.code());
        if (closed || !(isStranger ? strangers : proven).mayLog()) {
            return;
        }
        log.atWarn()
                .addKeyValue("address", from)
                .addKeyValue(
                        "peer", proof == null ? "unproven" : proof.subject().id())
                .addKeyValue("told", told != null)
                .addKeyValue("reason", reason)
                .log("peer_turned_away");
    }
}
