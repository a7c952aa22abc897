package blocktree.node;

import blocktree.btmsg.ControlException;
import blocktree.btmsg.ControlHandler;
import blocktree.btmsg.ControlReply;
import blocktree.btmsg.ControlRequest;
import blocktree.btmsg.session.Invitations;
import blocktree.btmsg.session.Member;
import blocktree.btmsg.session.Messenger;
import blocktree.btmsg.session.MessengerOptions;
import blocktree.btmsg.session.NodeRole;
import blocktree.btmsg.session.Peer;
import blocktree.btmsg.session.PeerIdentity;
import blocktree.btmsg.session.PeerStats;
import blocktree.cluster.AgreementException;
import blocktree.cluster.AgreementStatus;
import blocktree.cluster.ClusterNode;
import blocktree.cluster.LockLeases;
import blocktree.cluster.StoreCopies;
import blocktree.cluster.WriteLease;
import blocktree.cluster.raft.RaftEngine;
import blocktree.cluster.raft.RaftOptions;
import blocktree.crypto.Authority;
import blocktree.crypto.CryptoException;
import blocktree.crypto.Fingerprint;
import blocktree.crypto.Identity;
import blocktree.crypto.NodeRecord;
import blocktree.crypto.PrincipalId;
import blocktree.crypto.TreeFounding;
import blocktree.crypto.WriteCapabilityChain;
import blocktree.store.BlockStore;
import blocktree.store.StoreException;
import blocktree.store.StoreOptions;
import blocktree.tree.ChangeGate;
import blocktree.tree.FileSystemException;
import blocktree.tree.TreeFileSystem;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Clock;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.concurrent.CancellationException;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.function.BooleanSupplier;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * This node among the others of its tree: its sessions with them, its part in their agreement, and whom it takes in
 * (docs/cluster.md, docs/joining.md). Thread-safe.
 */
final class Membership implements AutoCloseable {
    private static final Logger log = LoggerFactory.getLogger(Membership.class);

    private static final long TEND_MILLIS = 500;
    private static final long RETRY_MILLIS = 2_000;
    private static final int STOP_SECONDS = 5;

    /** Longer than it takes another node to be chosen that leads. */
    private static final Duration WRITE_PATIENCE = Duration.ofSeconds(10);

    /** Of a principal, to name it by. */
    private static final int DIGITS_MIN = 8;

    private final BlockStore store;
    private final Identity identity;
    private final NodePlace place;
    private final List<InetSocketAddress> advertised;
    private final Messenger messenger;
    private final ClusterNode cluster;
    private final Announcement announcement;
    private final Admissions admissions;
    private final Invitations invitations;
    private final ScheduledExecutorService tending =
            Executors.newSingleThreadScheduledExecutor(task -> thread(task, "membership"));
    /** For what waits until the voters agree. */
    private final ExecutorService agreeing =
            Executors.newSingleThreadExecutor(task -> thread(task, "membership-agree"));

    // Used by the tending thread only.
    private final Map<PrincipalId, List<InetSocketAddress>> dialled = new HashMap<>();
    private long authorityPosition = -1;
    private volatile boolean agreeingIsUnderWay;

    private static Thread thread(Runnable task, String name) {
        Thread thread = new Thread(task, name);
        thread.setDaemon(true);
        return thread;
    }

    private Membership(
            BlockStore store,
            Identity identity,
            NodePlace place,
            List<InetSocketAddress> advertised,
            Messenger messenger,
            ClusterNode cluster)
            throws IOException {
        this.store = store;
        this.identity = identity;
        this.place = place;
        this.advertised = advertised;
        this.messenger = messenger;
        this.cluster = cluster;
        this.announcement = new Announcement(store, identity, place.name(), advertised, messenger);
        this.admissions = new Admissions(
                store,
                this::members,
                this::invitationOf,
                node -> messenger.peer(node).stats().sessions() > 0);
        this.invitations = new Invitations(store.tree(), identity, new Admissions.Forgetful(), Clock.systemUTC());
    }

    /** Listens, dials, and takes part from now on: everything that the store commits is ordered by all voters. Store and identity stay the caller's. */
    static Membership start(RunSettings settings, BlockStore store, Identity identity) throws NodeException {
        NodePlace place = NodePlace.of(settings);
        String tried = "to take part in the tree's cluster";
        Messenger messenger = null;
        ClusterNode cluster = null;
        try {
            Files.createDirectories(place.directory());
            messenger = connect(store.authority(), identity, place);
            InetSocketAddress listen = place.listen();
            InetSocketAddress local = listen == null ? null : listen(messenger, listen);
            StoreCopies.serve(messenger, store);
            Messenger started = messenger;
            cluster = new ClusterNode(store, messenger, identity.id(), place.directory(), Clock.systemUTC());
            dial(messenger, store.authority(), identity.id(), new HashMap<>());
            Path log = place.directory().resolve("raft");
            cluster.start(
                    new RaftEngine(
                            log,
                            (machine, voters) -> RaftOptions.of(
                                            log, store.tree(), identity.id(), voters, started, machine)
                                    .withLog(settings.logKept())),
                    place.firstVoters(identity.id()));
            Membership membership = new Membership(store, identity, place, place.advertised(local), messenger, cluster);
            messenger.welcomeJoiners(membership.invitations, membership.admissions);
            membership.tending.scheduleWithFixedDelay(membership::tend, 0, TEND_MILLIS, TimeUnit.MILLISECONDS);
            return membership;
        } catch (IOException e) {
            close(messenger, cluster);
            throw Failures.of(tried, e, "look at the node's log, and check the disk of " + place.directory());
        } catch (NodeException | RuntimeException e) {
            close(messenger, cluster);
            throw e;
        }
    }

    private static void close(@Nullable Messenger messenger, @Nullable ClusterNode cluster) {
        if (cluster != null) {
            cluster.close();
        }
        if (messenger != null) {
            messenger.close();
        }
    }

    private static InetSocketAddress listen(Messenger messenger, InetSocketAddress address) throws NodeException {
        try {
            return messenger.listen(address);
        } catch (IOException e) {
            throw new NodeException(
                    ExitCode.BAD_CONFIGURATION,
                    "to listen for other nodes at " + address,
                    Failures.reason(e),
                    "set listen to an address of this machine and a port that nobody else uses",
                    e);
        }
    }

    /** The sessions of a node that is of the tree. Neither listens nor dials yet. */
    static Messenger connect(Authority authority, Identity identity, NodePlace place) throws NodeException {
        return messenger(identity, chainOf(authority, identity.id()), authority, place.name());
    }

    /** The sessions of a node of this program, by the machine's clock. Neither listens nor dials yet. */
    static Messenger messenger(Identity identity, WriteCapabilityChain chain, Authority authority, String name) {
        return new Messenger(
                MessengerOptions.of(identity, chain, authority, System::currentTimeMillis, name, Version.SOFTWARE));
    }

    /** The newest through which this node may run. */
    private static WriteCapabilityChain chainOf(Authority authority, PrincipalId self) throws NodeException {
        List<WriteCapabilityChain> chains = authority.chainsOf(self);
        CryptoException refusal = null;
        for (int i = chains.size() - 1; i >= 0; i--) {
            try {
                authority.checkNode(chains.get(i), System.currentTimeMillis());
                return chains.get(i);
            } catch (CryptoException e) {
                refusal = e;
            }
        }
        throw new NodeException(
                ExitCode.BAD_KEY_FILE,
                "to show other nodes that this one is of the tree",
                refusal == null ? "the tree has no capability for it" : String.valueOf(refusal.getMessage()),
                "this node was retired, or its right has ended: have it join anew, in an empty data directory",
                refusal);
    }

    // ---- at the beginning: a store that is behind ----

    /** Brings a store that is not open up to date, when this node has noted that it was left behind; FAILED as soon as it is {@code toStop}. */
    static void catchUp(RunSettings settings, StoreOptions options, Identity identity, BooleanSupplier toStop)
            throws NodeException {
        NodePlace place = NodePlace.of(settings);
        place.requireWhole();
        PrincipalId from = place.behind();
        if (from == null) {
            return;
        }
        String tried = "to bring the store up to date from another node";
        Path tree = settings.directory().tree();
        Authority authority = OpenTree.keyHolders(tree).authority();
        List<PrincipalId> others = others(authority, identity.id());
        log.atInfo().addKeyValue("from", from).log("store_update_began");
        try (Messenger messenger = connect(authority, identity, place)) {
            dial(messenger, authority, identity.id(), new HashMap<>());
            for (int attempt = 0; ; attempt++) {
                requireGoingOn(toStop);
                Peer peer = messenger.peer(from);
                String reason = "not connected";
                try {
                    peer.whenConnected().get(RETRY_MILLIS * 5, TimeUnit.MILLISECONDS);
                    StoreCopies.update(peer, tree, options, identity, progress -> requireGoingOn(toStop));
                    place.forgetBehind();
                    log.atInfo().addKeyValue("from", from).log("store_update_done");
                    return;
                } catch (StoreException e) {
                    if (e.code() != StoreException.Code.IO) {
                        throw Failures.of(tried, e);
                    }
                    reason = String.valueOf(e.getMessage());
                } catch (ExecutionException | TimeoutException e) {
                    // another is asked
                }
                log.atWarn()
                        .addKeyValue("from", from)
                        .addKeyValue("reason", reason)
                        .log("store_update_failed");
                from = others.isEmpty() ? from : others.get(attempt % others.size());
                TimeUnit.MILLISECONDS.sleep(RETRY_MILLIS);
            }
        } catch (IOException e) {
            throw Failures.of(tried, e, "check the disk of " + place.directory());
        } catch (CancellationException e) {
            throw new NodeException(ExitCode.FAILED, tried, "the node stops", "start it again", e);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new NodeException(ExitCode.FAILED, tried, "interrupted", "start the node again", e);
        }
    }

    private static void requireGoingOn(BooleanSupplier toStop) {
        if (toStop.getAsBoolean()) {
            throw new CancellationException("the node stops");
        }
    }

    /** Calls {@code stop} once, when this node cannot follow the others without a copy of what they have; that is noted for the next start. */
    void whenBehind(Runnable stop) {
        cluster.behind().thenAccept(leader -> {
            log.atWarn().addKeyValue("from", leader).log("node_behind");
            try {
                place.noteBehind(leader);
            } catch (IOException e) {
                log.atError().setCause(e).log("node_behind");
            }
            stop.run();
        });
    }

    // ---- the tree ----

    /** Passed by whatever changes the tree: one node does so at a time. */
    ChangeGate gate() {
        WriteLease lease = cluster.writeLease();
        return new ChangeGate() {
            @Override
            public void enter() throws FileSystemException {
                try {
                    lease.enter(WRITE_PATIENCE);
                } catch (AgreementException e) {
                    throw new FileSystemException(
                            e.code() == AgreementException.Code.UNKNOWN
                                    ? FileSystemException.Code.TIMED_OUT
                                    : FileSystemException.Code.READ_ONLY,
                            String.valueOf(e.getMessage()),
                            e);
                } catch (InterruptedException e) {
                    Thread.currentThread().interrupt();
                    throw new FileSystemException(FileSystemException.Code.TIMED_OUT, "interrupted", e);
                }
            }

            @Override
            public void leave() {
                lease.leave();
            }

            @Override
            public boolean refresh() {
                return lease.refresh();
            }
        };
    }

    /** Has {@code files} show what other nodes change, and write everything before another node may change something. */
    void follow(TreeFileSystem files) {
        cluster.onChanges(files::changedElsewhere);
        cluster.writeLease().onLeaving(files::settle);
        SharedLocks.connect(files.locks(), cluster.locks());
        files.changedElsewhere(List.of(store.rootBlock())); // it was read before
    }

    /** Gives back the right to change the tree, for which the tree has to be open still. */
    void stopChanging() {
        cluster.locks().stop();
        cluster.writeLease().stop();
    }

    // ---- all the time ----

    private void tend() {
        try {
            Authority authority = store.authority();
            if (authority.position() != authorityPosition) {
                authorityPosition = authority.position();
                messenger.useChain(chainOf(authority, identity.id()));
                messenger.authorityChanged();
                dial(messenger, authority, identity.id(), dialled);
            }
            if (!agreeingIsUnderWay && cluster.status().leader() != null) {
                agreeingIsUnderWay = true;
                agreeing.execute(this::agree);
            }
        } catch (NodeException | RuntimeException e) {
            log.atError().setCause(e).log("membership_failed");
        }
    }

    /** Those of the tree but for its roots, which could run nodes too and do not. */
    private static List<PrincipalId> nodesOf(Authority authority) {
        return authority.nodesAt(System.currentTimeMillis()).stream()
                .filter(node -> !authority.wasRoot(node))
                .toList();
    }

    static List<PrincipalId> others(Authority authority, PrincipalId self) {
        return nodesOf(authority).stream().filter(node -> !node.equals(self)).toList();
    }

    /** @param dialled where each was dialled before */
    static void dial(
            Messenger messenger,
            Authority authority,
            PrincipalId self,
            Map<PrincipalId, List<InetSocketAddress>> dialled) {
        Map<PrincipalId, List<InetSocketAddress>> wanted = new HashMap<>();
        for (PrincipalId node : others(authority, self)) {
            NodeRecord record = authority.node(node);
            wanted.put(node, record == null ? List.of() : record.addresses());
        }
        dialled.keySet().forEach(node -> wanted.putIfAbsent(node, List.of()));
        wanted.forEach((node, addresses) -> {
            if (!addresses.equals(dialled.getOrDefault(node, List.of()))) {
                messenger.peer(node).setAddresses(addresses);
            }
            dialled.put(node, addresses);
        });
    }

    /** What only a majority can do: says where this node is, and takes in whom it has admitted. */
    private void agree() {
        try {
            AgreementStatus status = cluster.status();
            announcement.publish(status.leader(), isTrusted(identity.id()));
            for (PrincipalId node : admissions.awaited()) {
                takeIn(node);
            }
        } catch (InterruptedException e) {
            // the node stops
        } catch (StoreException | RuntimeException e) {
            log.atWarn().addKeyValue("reason", e.getMessage()).log("membership_failed");
        } finally {
            agreeingIsUnderWay = false;
        }
    }

    private void takeIn(PrincipalId node) throws InterruptedException, StoreException {
        if (cluster.status().voters().contains(node)) {
            admissions.forget(node);
            log.atInfo().addKeyValue("peer", node).log("voter_added");
        } else if (!nodesOf(store.authority()).contains(node)) {
            admissions.forget(node); // retired before it came
        } else if (messenger.peer(node).isConnected() && cluster.isReady(node)) {
            try {
                cluster.setVoter(node, true);
            } catch (AgreementException e) {
                log.atWarn()
                        .addKeyValue("peer", node)
                        .addKeyValue("reason", e.getMessage())
                        .log("voter_not_added");
                TimeUnit.MILLISECONDS.sleep(RETRY_MILLIS);
            }
        }
    }

    // ---- who is there ----

    private List<Member> members() {
        Authority authority = store.authority();
        return cluster.status().voters().stream()
                .map(voter -> {
                    NodeRecord record = authority.node(voter);
                    return voter.equals(identity.id())
                            ? new Member(voter, place.name(), advertised)
                            : new Member(
                                    voter,
                                    record == null ? "" : record.name(),
                                    record == null ? List.of() : record.addresses());
                })
                .toList();
    }

    private @Nullable String invitationOf(PrincipalId user) {
        return invitations.list().stream()
                .filter(one -> Objects.equals(user, one.usedBy()))
                .map(Invitations.Listed::id)
                .findFirst()
                .orElse(null);
    }

    /** Whether a node may change the tree, and so has what is needed to read it; otherwise it is blind. */
    private boolean isTrusted(PrincipalId node) {
        return store.authority().mayWrite(node, System.currentTimeMillis());
    }

    List<ControlReply.NodeState> nodes() {
        Map<PrincipalId, ClusterNode.Elsewhere> elsewhere = elsewhere();
        AgreementStatus status = cluster.status();
        long committed = Math.max(
                status.committed(),
                elsewhere.values().stream()
                        .mapToLong(ClusterNode.Elsewhere::applied)
                        .max()
                        .orElse(0));
        Authority authority = store.authority();
        Set<PrincipalId> all = new LinkedHashSet<>();
        all.add(identity.id());
        all.addAll(nodesOf(authority));
        all.addAll(status.voters());
        List<ControlReply.NodeState> states = new ArrayList<>();
        for (PrincipalId node : all) {
            states.add(state(node, status, committed, elsewhere.get(node), authority.node(node)));
        }
        return states;
    }

    private Map<PrincipalId, ClusterNode.Elsewhere> elsewhere() {
        try {
            return cluster.elsewhere();
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            return Map.of();
        }
    }

    private ControlReply.NodeState state(
            PrincipalId node,
            AgreementStatus status,
            long committed,
            ClusterNode.@Nullable Elsewhere elsewhere,
            @Nullable NodeRecord record) {
        boolean self = node.equals(identity.id());
        Peer peer = self ? null : messenger.peer(node);
        PeerStats stats = peer == null ? null : peer.stats();
        PeerIdentity proven = peer == null ? null : peer.identity();
        String name = record != null ? record.name() : self ? place.name() : proven == null ? "" : proven.nodePath();
        long lag = self
                ? status.leader() == null ? -1 : Math.max(0, committed - status.applied())
                : elsewhere == null
                        ? status.lag().getOrDefault(node, -1L)
                        : Math.max(0, committed - elsewhere.applied());
        return new ControlReply.NodeState(
                node.toHex(),
                name,
                texts(self ? advertised : record == null ? List.of() : record.addresses()),
                self,
                status.voters().contains(node),
                Objects.equals(node, status.leader()),
                self || stats != null && stats.connected(),
                stats == null ? 0 : stats.rttNanos(),
                stats == null ? 0 : stats.clockDifferenceMillis(),
                lag,
                self ? Version.SOFTWARE : proven == null ? "" : proven.software(),
                isTrusted(node),
                self ? store.headPosition() : elsewhere == null ? -1 : elsewhere.position());
    }

    /** Whether the logs of those that are there are this node's. */
    void compare(NodeControl.CheckStream out) throws NodeException {
        try {
            Map<PrincipalId, Boolean> compared = cluster.compareLogs();
            for (PrincipalId node : others(store.authority(), identity.id())) {
                Boolean same = compared.get(node);
                if (same == null) {
                    out.offer(new ControlReply.Finding(
                            "warning", "node_absent", node.toHex(), "not compared: it is not connected", false));
                } else if (!same) {
                    out.offer(new ControlReply.Finding(
                            "error",
                            "log_differs",
                            node.toHex(),
                            "its log is not this node's: one of the two is alone with its own",
                            false));
                }
            }
        } catch (StoreException e) {
            throw Failures.of("to compare the logs", e);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new NodeException(ExitCode.FAILED, "to compare the logs", "the node stops", "try again", e);
        }
    }

    /** What programs hold, on all nodes. */
    ControlReply.Locks locks() throws NodeException {
        List<ControlReply.FileLock> locks = new ArrayList<>();
        List<String> silent = new ArrayList<>();
        try {
            for (LockLeases.NodeLocks each : cluster.locks().list()) {
                NodeRecord record = store.authority().node(each.node());
                if (each.locks() == null) {
                    silent.add(each.node().toHex());
                } else {
                    each.locks()
                            .forEach(lock -> locks.add(
                                    SharedLocks.toReply(lock, each.node(), record == null ? "" : record.name())));
                }
            }
            return new ControlReply.Locks(locks, silent);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new NodeException(
                    ExitCode.FAILED, "to ask all nodes for their locks", "the node stops", "start it again", e);
        }
    }

    /** As a setting gives them. */
    static List<String> texts(List<InetSocketAddress> addresses) {
        return addresses.stream()
                .map(address -> address.getHostString().contains(":")
                        ? "[" + address.getHostString() + "]:" + address.getPort()
                        : address.getHostString() + ":" + address.getPort())
                .toList();
    }

    /** Whether no majority is reached, so that the tree can only be read. */
    boolean isCutOff() {
        return cluster.cutOffMillis() > 0;
    }

    /** Adds numbers by stable name. */
    void report(Map<String, Long> counters) {
        AgreementStatus status = cluster.status();
        List<PeerStats> peers = messenger.peers().stream().map(Peer::stats).toList();
        counters.put("cluster.voters", (long) status.voters().size());
        counters.put("cluster.votes", status.voters().contains(identity.id()) ? 1L : 0L);
        counters.put("cluster.trusted", isTrusted(identity.id()) ? 1L : 0L);
        counters.put("cluster.behind", Math.max(0, status.committed() - status.applied()));
        counters.put("cluster.leads", Objects.equals(identity.id(), status.leader()) ? 1L : 0L);
        counters.put("cluster.has_leader", status.leader() == null ? 0L : 1L);
        counters.put("cluster.cut_off_millis", cluster.cutOffMillis());
        counters.put("cluster.term", status.term());
        counters.put("cluster.committed", status.committed());
        counters.put("cluster.applied", status.applied());
        counters.put(
                "cluster.lag_max",
                status.lag().values().stream().mapToLong(Long::longValue).max().orElse(0));
        counters.put("cluster.writes", cluster.writeLease().isHeld() ? 1L : 0L);
        counters.put("cluster.write_moves", cluster.writeLease().moves());
        counters.put(
                "peers.connected", peers.stream().filter(PeerStats::connected).count());
        counters.put(
                "peers.bytes_in", peers.stream().mapToLong(PeerStats::bytesIn).sum());
        counters.put(
                "peers.bytes_out", peers.stream().mapToLong(PeerStats::bytesOut).sum());
        counters.put(
                "peers.requests", peers.stream().mapToLong(PeerStats::requests).sum());
        counters.put(
                "peers.failures", peers.stream().mapToLong(PeerStats::failures).sum());
    }

    /** The one of {@code nodes} of that name, that fingerprint, or whose principal begins with these digits. */
    static PrincipalId find(List<ControlReply.NodeState> nodes, String text, String tried) throws NodeException {
        List<PrincipalId> found = nodes.stream()
                .filter(node -> node.name().equals(text)
                        || Fingerprint.of(PrincipalId.parse(node.principal())).equalsIgnoreCase(text)
                        || text.length() >= DIGITS_MIN && node.principal().startsWith(text.toLowerCase(Locale.ROOT)))
                .map(node -> PrincipalId.parse(node.principal()))
                .toList();
        if (found.size() != 1) {
            throw new NodeException(
                    ExitCode.USAGE,
                    tried,
                    found.isEmpty() ? "no node " + text : found.size() + " nodes are called " + text,
                    "name it as btnode nodes shows it, by its name or the beginning of its principal");
        }
        return found.get(0);
    }

    void setVoter(String node, boolean votes) throws NodeException {
        String tried = votes ? "to have " + node + " vote" : "to have " + node + " vote no more";
        PrincipalId principal = find(nodes(), node, tried);
        if (votes && !isTrusted(principal)) {
            throw new NodeException(
                    ExitCode.USAGE,
                    tried,
                    "it is blind: it was made a node without the right to write and without a key, and who votes has to be trusted",
                    "retire it, and have the machine join anew, invited without --blind, if it is to be trusted");
        }
        setVoter(principal, votes, tried);
    }

    private void setVoter(PrincipalId principal, boolean votes, String tried) throws NodeException {
        if (!votes && cluster.status().voters().equals(Set.of(principal))) {
            throw new NodeException(
                    ExitCode.USAGE, tried, "it is the only one that votes", "have another node vote first");
        }
        try {
            cluster.setVoter(principal, votes);
        } catch (AgreementException e) {
            throw new NodeException(
                    ExitCode.FAILED,
                    tried,
                    String.valueOf(e.getMessage()),
                    "see who is there with btnode nodes, and try again",
                    e);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new NodeException(ExitCode.FAILED, tried, "the node stops", "try again", e);
        }
    }

    /** Ends a node by records that a root key has signed, after it votes no more. */
    void retire(String node, List<ControlRequest.Record> signed) throws NodeException {
        String tried = "to retire " + node;
        try {
            PrincipalId principal = PrincipalId.parse(node);
            List<TreeFounding.Entry> records = OpenTree.entries(signed);
            if (principal.equals(identity.id())) {
                throw new NodeException(
                        ExitCode.USAGE, tried, "it is this node", "give the command on another node of the tree");
            }
            if (cluster.status().voters().contains(principal)) {
                setVoter(principal, false, tried);
            }
            store.appendAuthority(records);
            admissions.forget(principal);
            log.atInfo().addKeyValue("peer", principal).log("node_retired");
        } catch (StoreException e) {
            throw Failures.of(tried, e);
        } catch (CryptoException | IllegalArgumentException e) {
            throw new NodeException(
                    ExitCode.USAGE,
                    tried,
                    String.valueOf(e.getMessage()),
                    "use the same version of btnode as the node that runs",
                    e);
        }
    }

    // ---- taking somebody in ----

    /** Invites one machine for as long as the client listens; returns once it is a node. */
    void invite(Duration life, NodeRole role, ControlHandler.Stream client) throws NodeException {
        String tried = "to invite a machine";
        if (!isTrusted(identity.id())) {
            throw new NodeException(
                    ExitCode.USAGE,
                    tried,
                    "this node is blind, and can put nothing in the tree's log",
                    "invite it on a node that is trusted");
        }
        if (place.listen() == null) {
            throw new NodeException(
                    ExitCode.BAD_CONFIGURATION,
                    tried,
                    "this node does not listen, so nobody could join through it",
                    "set listen in btnode.toml, or start it with --listen ADDRESS:PORT");
        }
        String id = null;
        try (var made = invitations.create(role, advertised, life)) {
            id = made.secret().id();
            admissions.invite(id, client, new ControlReply.Invited(id, made.toCode(), made.expiresMillis()));
        } catch (ControlException e) {
            // the client is gone, and with it the invitation
        } catch (IOException | IllegalArgumentException | IllegalStateException e) {
            throw new NodeException(
                    ExitCode.FAILED,
                    tried,
                    String.valueOf(e.getMessage()),
                    "see that advertise names at most eight addresses under which this node is reached",
                    e);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new NodeException(ExitCode.FAILED, tried, "the node stops", "start it again, and invite again", e);
        } finally {
            if (id != null) {
                revoke(id);
            }
        }
    }

    private void revoke(String id) {
        try {
            invitations.revoke(id);
        } catch (IOException e) {
            log.atError().setCause(e).log("membership_failed"); // kept in memory only: there is nothing to fail
        }
    }

    void admit(String invitation, byte[] chain, List<byte[]> readCapabilities, String refusal) throws NodeException {
        admissions.answer(invitation, chain, readCapabilities, refusal);
    }

    /** Hands leadership over, and ends. To be called after the tree was closed, before the store is. */
    @Override
    public void close() {
        tending.shutdownNow();
        agreeing.shutdownNow();
        admissions.close();
        cluster.close();
        messenger.close();
        invitations.close();
        try {
            agreeing.awaitTermination(STOP_SECONDS, TimeUnit.SECONDS);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }
}
