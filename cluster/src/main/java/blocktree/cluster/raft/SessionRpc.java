package blocktree.cluster.raft;

import blocktree.btmsg.session.Call;
import blocktree.btmsg.session.MessageException;
import blocktree.btmsg.session.MessageException.Code;
import blocktree.btmsg.session.Messenger;
import blocktree.btmsg.session.Peer;
import blocktree.btmsg.session.Service;
import blocktree.crypto.PrincipalId;
import java.io.IOException;
import java.io.InterruptedIOException;
import java.net.InetSocketAddress;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.Collection;
import java.util.Objects;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.function.Predicate;
import org.apache.ratis.conf.Parameters;
import org.apache.ratis.proto.RaftProtos.AppendEntriesReplyProto;
import org.apache.ratis.proto.RaftProtos.AppendEntriesReplyProto.AppendResult;
import org.apache.ratis.proto.RaftProtos.AppendEntriesRequestProto;
import org.apache.ratis.proto.RaftProtos.InstallSnapshotReplyProto;
import org.apache.ratis.proto.RaftProtos.InstallSnapshotRequestProto;
import org.apache.ratis.proto.RaftProtos.RaftRpcReplyProto;
import org.apache.ratis.proto.RaftProtos.RaftRpcRequestProto;
import org.apache.ratis.proto.RaftProtos.RequestVoteReplyProto;
import org.apache.ratis.proto.RaftProtos.RequestVoteRequestProto;
import org.apache.ratis.proto.RaftProtos.StartLeaderElectionReplyProto;
import org.apache.ratis.proto.RaftProtos.StartLeaderElectionRequestProto;
import org.apache.ratis.proto.RaftProtos.TermIndexProto;
import org.apache.ratis.protocol.RaftGroupId;
import org.apache.ratis.protocol.RaftPeer;
import org.apache.ratis.protocol.RaftPeerId;
import org.apache.ratis.rpc.RpcFactory;
import org.apache.ratis.rpc.RpcType;
import org.apache.ratis.server.RaftServer;
import org.apache.ratis.server.RaftServerRpc;
import org.apache.ratis.server.ServerFactory;
import org.apache.ratis.server.leader.FollowerInfo;
import org.apache.ratis.server.leader.LeaderState;
import org.apache.ratis.server.leader.LogAppender;
import org.apache.ratis.thirdparty.com.google.protobuf.CodedOutputStream;
import org.apache.ratis.thirdparty.com.google.protobuf.InvalidProtocolBufferException;
import org.apache.ratis.thirdparty.com.google.protobuf.MessageLite;
import org.apache.ratis.util.ProtoUtils;
import org.jspecify.annotations.Nullable;

/**
 * The engine's messages over sessions. On the wire a message is a byte that says which, and the engine's protobuf without what the
 * session says already: who sends it, to whom, and in which group. Requests are handled by one thread, one after the other: the engine
 * checks the term of an append and writes it in two steps, between which it would vote.
 */
final class SessionRpc implements RaftServerRpc {
    static final String SERVICE = "raft";

    private static final int UNDER_WAY_MAX = 64;
    private static final Duration VOTE_TIMEOUT = Duration.ofSeconds(2);

    private static final byte VOTE = 1;
    private static final byte APPEND = 2;
    private static final byte INSTALL = 3;
    private static final byte START_ELECTION = 4;
    /** One-way: what a follower has prepared meanwhile, as an append's reply. */
    private static final byte HELD = 5;

    private final Messenger messenger;
    private final RaftPeerId self;
    private final RaftGroupId group;
    private final Prepared prepared;
    private final MachineAdapter machine;
    private final RaftServer server;

    /** Of the newest leader's term; null before. */
    private volatile @Nullable Quorum quorum;

    private volatile boolean closed;

    /** Whether entries are being written for a leader. */
    private final AtomicBoolean appending = new AtomicBoolean();

    // guarded by this: what the newest leader knows of this follower's log
    private @Nullable PrincipalId leader;
    private long term;
    private long verified = -1;
    private long told = -1;

    private SessionRpc(RaftServer server, Parts parts) {
        this.server = server;
        this.messenger = parts.options().messenger();
        this.self = PeerIds.of(parts.options().self());
        this.group = PeerIds.group(parts.options().tree());
        this.prepared = parts.prepared();
        this.machine = parts.machine();
    }

    /** What the engine hands on to this class. */
    record Parts(RaftOptions options, Prepared prepared, MachineAdapter machine) {
        private static final String KEY = "blocktree.parts";

        Parameters toParameters() {
            Parameters parameters = new Parameters();
            parameters.put(KEY, this, Parts.class);
            return parameters;
        }
    }

    /** Made by the engine, by name. */
    static final class Type implements RpcType {
        @Override
        public String name() {
            return "BTMSG";
        }

        @Override
        public RpcFactory newFactory(Parameters parameters) {
            return new Factory(this, parameters.getNonNull(Parts.KEY, Parts.class));
        }
    }

    private record Factory(Type type, Parts parts) implements ServerFactory {
        @Override
        public RaftServerRpc newRaftServerRpc(RaftServer server) {
            return new SessionRpc(server, parts);
        }

        @Override
        public LogAppender newLogAppender(RaftServer.Division division, LeaderState state, FollowerInfo follower) {
            return ((SessionRpc) division.getRaftServer().getServerRpc()).newAppender(division, state, follower);
        }

        @Override
        public RpcType getRpcType() {
            return type;
        }
    }

    private synchronized Appender newAppender(RaftServer.Division division, LeaderState state, FollowerInfo follower) {
        Quorum current = quorum;
        if (current == null || !current.isOf(state)) {
            current = new Quorum(division, state, prepared);
            quorum = current;
        }
        Appender appender = new Appender(division, state, follower, this, current);
        current.add(appender);
        return appender;
    }

    /** Of the newest term that this voter has led. */
    @Nullable
    Quorum quorum() {
        return quorum;
    }

    /** Hears others from now on, those that {@code mayCall} lets. */
    void open(Predicate<PrincipalId> mayCall) {
        messenger.register(Service.ofMessages(SERVICE, 1, UNDER_WAY_MAX, this::handle)
                .onlyFor(peer -> mayCall.test(peer.principal())));
    }

    // Asking

    Peer peer(RaftPeerId id) {
        return messenger.peer(PeerIds.principal(id));
    }

    CompletableFuture<AppendEntriesReplyProto> append(
            RaftPeerId to, AppendEntriesRequestProto request, Duration timeout) {
        AppendEntriesRequestProto brief = request.toBuilder()
                .setServerRequest(brief(request.getServerRequest()))
                .clearCommitInfos()
                .build();
        return ask(to, APPEND, brief, timeout)
                .thenApply(reply -> parse(reply, AppendEntriesReplyProto.getDefaultInstance()));
    }

    CompletableFuture<InstallSnapshotReplyProto> install(
            RaftPeerId to, InstallSnapshotRequestProto request, Duration timeout) {
        InstallSnapshotRequestProto brief = request.toBuilder()
                .setServerRequest(brief(request.getServerRequest()))
                .build();
        return ask(to, INSTALL, brief, timeout)
                .thenApply(reply -> parse(reply, InstallSnapshotReplyProto.getDefaultInstance()));
    }

    @Override
    public RequestVoteReplyProto requestVote(RequestVoteRequestProto request) throws IOException {
        RaftRpcRequestProto header = request.getServerRequest();
        byte[] reply = await(ask(
                RaftPeerId.valueOf(header.getReplyId()),
                VOTE,
                request.toBuilder().setServerRequest(brief(header)).build(),
                VOTE_TIMEOUT));
        RequestVoteReplyProto vote = RequestVoteReplyProto.parseFrom(reply);
        return vote.toBuilder()
                .setServerReply(vote.getServerReply().toBuilder().setReplyId(header.getReplyId()))
                .build();
    }

    @Override
    public StartLeaderElectionReplyProto startLeaderElection(StartLeaderElectionRequestProto request)
            throws IOException {
        RaftRpcRequestProto header = request.getServerRequest();
        return StartLeaderElectionReplyProto.parseFrom(await(ask(
                RaftPeerId.valueOf(header.getReplyId()),
                START_ELECTION,
                request.toBuilder().setServerRequest(brief(header)).build(),
                VOTE_TIMEOUT)));
    }

    @Override
    public AppendEntriesReplyProto appendEntries(AppendEntriesRequestProto request) {
        throw new UnsupportedOperationException("an Appender does this");
    }

    @Override
    public InstallSnapshotReplyProto installSnapshot(InstallSnapshotRequestProto request) {
        throw new UnsupportedOperationException("an Appender does this");
    }

    private static RaftRpcRequestProto brief(RaftRpcRequestProto header) {
        return RaftRpcRequestProto.newBuilder().setCallId(header.getCallId()).build();
    }

    private CompletableFuture<byte[]> ask(RaftPeerId to, byte kind, MessageLite message, Duration timeout) {
        return peer(to).request(SERVICE, frame(kind, message), timeout);
    }

    private static byte[] frame(byte kind, MessageLite message) {
        byte[] body = new byte[1 + message.getSerializedSize()];
        body[0] = kind;
        try {
            message.writeTo(CodedOutputStream.newInstance(body, 1, body.length - 1));
        } catch (IOException e) {
            throw new IllegalStateException("an array of the right size", e);
        }
        return body;
    }

    private static <T extends MessageLite> T parse(byte[] bytes, T prototype) {
        try {
            @SuppressWarnings("unchecked")
            T parsed = (T) prototype.getParserForType().parseFrom(bytes);
            return parsed;
        } catch (InvalidProtocolBufferException e) {
            throw new CompletionException(e);
        }
    }

    private static byte[] await(CompletableFuture<byte[]> reply) throws IOException {
        try {
            return reply.get();
        } catch (ExecutionException e) {
            throw e.getCause() instanceof IOException cause ? cause : new IOException(e.getCause());
        } catch (InterruptedException e) {
            reply.cancel(false);
            Thread.currentThread().interrupt();
            throw new InterruptedIOException("interrupted while a peer was asked");
        }
    }

    // Answering

    private CompletionStage<byte[]> handle(Call call) throws MessageException {
        byte[] body = call.body();
        RaftPeerId from = PeerIds.of(call.caller().principal());
        try {
            if (closed) {
                throw new MessageException(Code.FAILED, "this voter takes no part any more");
            }
            if (body.length == 0) {
                throw new MessageException(Code.FAILED, "an empty message");
            }
            ByteBuffer message = ByteBuffer.wrap(body, 1, body.length - 1);
            return switch (body[0]) {
                case VOTE -> done(vote(from, RequestVoteRequestProto.parseFrom(message)));
                case APPEND -> append(from, AppendEntriesRequestProto.parseFrom(message));
                case INSTALL -> done(install(from, InstallSnapshotRequestProto.parseFrom(message)));
                case START_ELECTION -> done(elect(from, StartLeaderElectionRequestProto.parseFrom(message)));
                case HELD -> done(held(from, AppendEntriesReplyProto.parseFrom(message)));
                default -> throw new MessageException(Code.FAILED, "a message of an unknown kind: " + body[0]);
            };
        } catch (MessageException e) {
            throw e;
        } catch (IOException | RuntimeException e) {
            throw failed(e);
        }
    }

    private static MessageException failed(Throwable cause) {
        return new MessageException(Code.FAILED, String.valueOf(cause));
    }

    private static CompletionStage<byte[]> done(MessageLite reply) {
        return CompletableFuture.completedFuture(reply.toByteArray());
    }

    private RaftRpcRequestProto header(RaftPeerId from, RaftRpcRequestProto brief) {
        return RaftRpcRequestProto.newBuilder()
                .setRequestorId(from.toByteString())
                .setReplyId(self.toByteString())
                .setRaftGroupId(ProtoUtils.toRaftGroupIdProtoBuilder(group))
                .setCallId(brief.getCallId())
                .build();
    }

    private static RaftRpcReplyProto brief(RaftRpcReplyProto header) {
        return RaftRpcReplyProto.newBuilder().setSuccess(header.getSuccess()).build();
    }

    private MessageLite vote(RaftPeerId from, RequestVoteRequestProto request) throws IOException {
        RequestVoteReplyProto reply = server.requestVote(request.toBuilder()
                .setServerRequest(header(from, request.getServerRequest()))
                .build());
        return reply.toBuilder().setServerReply(brief(reply.getServerReply())).build();
    }

    private MessageLite elect(RaftPeerId from, StartLeaderElectionRequestProto request) throws IOException {
        StartLeaderElectionReplyProto reply = server.startLeaderElection(request.toBuilder()
                .setServerRequest(header(from, request.getServerRequest()))
                .build());
        return reply.toBuilder().setServerReply(brief(reply.getServerReply())).build();
    }

    private CompletionStage<byte[]> append(RaftPeerId from, AppendEntriesRequestProto request) throws IOException {
        if (!request.getEntriesList().stream().allMatch(MachineAdapter::isWhole)) {
            throw new MessageException(Code.FAILED, "an entry without its marker");
        }
        if (machine.isCaughtUp()) {
            install(
                    from,
                    InstallSnapshotRequestProto.newBuilder()
                            .setServerRequest(request.getServerRequest())
                            .setLeaderTerm(request.getLeaderTerm())
                            .setNotification(notification(machine.catchingUpFrom()))
                            .build());
        }
        boolean hasEntries = request.getEntriesCount() > 0;
        // Sent again while the engine still writes it, it would be acknowledged at once.
        if (hasEntries && !appending.compareAndSet(false, true)) {
            throw new MessageException(Code.BUSY, "entries are being written");
        }
        CompletableFuture<AppendEntriesReplyProto> reply;
        try {
            reply = server.appendEntriesAsync(request.toBuilder()
                    .setServerRequest(header(from, request.getServerRequest()))
                    .build());
        } catch (IOException | RuntimeException e) {
            if (hasEntries) {
                appending.set(false);
            }
            throw e;
        }
        return reply.handle((answer, failure) -> {
            if (hasEntries) {
                appending.set(false);
            }
            if (failure != null) {
                throw new CompletionException(failed(failure));
            }
            return answer.toBuilder()
                    .setServerReply(brief(answer.getServerReply()))
                    .setMatchIndex(acknowledge(PeerIds.principal(from), request, answer))
                    .build()
                    .toByteArray();
        });
    }

    /** Up to where this voter holds the leader's entries, prepared and synced; -1 when nothing can be said. */
    private long acknowledge(PrincipalId from, AppendEntriesRequestProto request, AppendEntriesReplyProto answer) {
        int count = request.getEntriesCount();
        if (answer.getResult() != AppendResult.SUCCESS
                || (count == 0 && (appending.get() || !request.hasPreviousLog()))) {
            return -1;
        }
        long last = count > 0
                ? request.getEntries(count - 1).getIndex()
                : request.getPreviousLog().getIndex();
        synchronized (this) {
            if (request.getLeaderTerm() < term) {
                return -1;
            }
            if (request.getLeaderTerm() > term) {
                term = request.getLeaderTerm();
                verified = -1;
                told = -1;
            }
            leader = from;
            verified = Math.max(verified, last);
            long held = held(last);
            told = Math.max(told, held);
            return held;
        }
    }

    private long held(long last) {
        return Math.min(
                last, Math.min(prepared.mark(), machine.division().getRaftLog().getFlushIndex()));
    }

    /** More of this voter's log is prepared: tells the leader, which may not ask for a while. */
    void preparedMore() {
        Quorum led = quorum;
        if (led != null) {
            led.update();
        }
        PrincipalId to;
        AppendEntriesReplyProto message;
        synchronized (this) {
            to = leader;
            long held = held(verified);
            if (to == null || held <= told) {
                return;
            }
            told = held;
            message = AppendEntriesReplyProto.newBuilder()
                    .setTerm(term)
                    .setMatchIndex(held)
                    .build();
        }
        try {
            messenger.peer(to).oneWay(SERVICE, frame(HELD, message));
        } catch (MessageException e) {
            // The reply to the leader's next message says it.
        }
    }

    private MessageLite held(RaftPeerId from, AppendEntriesReplyProto message) {
        Quorum led = quorum;
        if (led != null) {
            led.appenders().stream()
                    .filter(appender -> appender.getFollowerId().equals(from))
                    .forEach(appender -> appender.hold(message.getTerm(), message.getMatchIndex()));
        }
        return AppendEntriesReplyProto.getDefaultInstance();
    }

    private static InstallSnapshotRequestProto.NotificationProto notification(long firstIndex) {
        return InstallSnapshotRequestProto.NotificationProto.newBuilder()
                .setFirstAvailableTermIndex(TermIndexProto.newBuilder().setIndex(firstIndex))
                .build();
    }

    /**
     * A leader whose log begins lower than that of the one before sends a lower index, or nothing, since it has what is needed: the
     * engine, which began with a higher one, would fail, or wait for ever.
     */
    private MessageLite install(RaftPeerId from, InstallSnapshotRequestProto request) throws IOException {
        InstallSnapshotRequestProto.Builder whole =
                request.toBuilder().setServerRequest(header(from, request.getServerRequest()));
        if (request.getNotification().getFirstAvailableTermIndex().getIndex() < machine.catchingUpFrom()) {
            whole.setNotification(notification(machine.catchingUpFrom()));
        }
        InstallSnapshotReplyProto reply = server.installSnapshot(whole.build());
        return reply.toBuilder().setServerReply(brief(reply.getServerReply())).build();
    }

    // What an RPC has that listens

    @Override
    public void start() {}

    @Override
    public @Nullable InetSocketAddress getInetSocketAddress() {
        return null;
    }

    @Override
    public void addRaftPeers(Collection<RaftPeer> peers) {}

    @Override
    public void handleException(RaftPeerId peer, Exception e, boolean reconnect) {}

    @Override
    public RpcType getRpcType() {
        return Objects.requireNonNull(server.getFactory()).getRpcType();
    }

    @Override
    public synchronized void close() {
        if (!closed) {
            closed = true;
            messenger.unregister(SERVICE);
        }
    }
}
