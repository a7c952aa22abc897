package blocktree.btmsg.session;

import blocktree.btmsg.session.MessageException.Code;
import blocktree.btmsg.session.SessionProto.Frame;
import com.google.protobuf.ByteString;
import io.netty.buffer.ByteBuf;
import io.netty.channel.Channel;
import io.netty.channel.ChannelFutureListener;
import io.netty.channel.ChannelHandlerContext;
import io.netty.channel.ChannelInboundHandlerAdapter;
import io.netty.util.concurrent.ScheduledFuture;
import java.util.HashMap;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Requests, replies and one-way messages of a session, both ways. Reading never waits for handlers: what is beyond the limits is
 * answered BUSY, so that two nodes whose handlers wait for one another cannot stop each other. Everything is sent by tasks of the event
 * loop, in the order in which they were given to it; what only the loop touches is marked so.
 */
final class MessageLane extends ChannelInboundHandlerAdapter {

    /** A body, with what is around it, fits into a frame. */
    static final int BODY_SIZE_BYTES_MAX = FrameReader.FRAME_SIZE_BYTES_MAX - 1024;

    static final long TIMEOUT_MILLIS_MAX = 3_600_000;

    /** How long a one-way message may wait for its service. */
    private static final long ONE_WAY_MILLIS = 30_000;

    private static final int UNSENT_FACTOR_MAX = 4;

    /** What a frame that waits costs beside its bytes. */
    private static final int UNSENT_FRAME_BYTES = 128;

    private static final Logger log = LoggerFactory.getLogger(MessageLane.class);

    private final Messenger messenger;
    private final Session session;
    private final Channel channel;
    private final Budget outgoing;
    private final AtomicLong ids = new AtomicLong();
    private final AtomicLong unsentBytes = new AtomicLong();
    private final AtomicInteger served = new AtomicInteger();
    private final Map<Long, CompletableFuture<byte[]>> open = new ConcurrentHashMap<>();
    private volatile long rttNanos;

    // guarded by this
    private boolean leaving;

    // of the event loop
    private final Map<Long, Call> underWay = new HashMap<>();
    private boolean goodbyeReceived;
    private long pingNanos;

    MessageLane(Messenger messenger, Session session, Channel channel) {
        this.messenger = messenger;
        this.session = session;
        this.channel = channel;
        Limits limits = messenger.limits();
        outgoing = new Budget(limits.requestsMax(), limits.requestBytesMax());
    }

    Channel channel() {
        return channel;
    }

    long rttNanos() {
        return rttNanos;
    }

    boolean isIdle() {
        return open.isEmpty() && served.get() == 0;
    }

    // What this node asks

    /** Null when the session is being left, and another has taken its place or none. */
    @Nullable
    CompletableFuture<byte[]> request(String service, byte[] body, long timeoutMillis) {
        MessageException refused = refusalOf(body);
        if (refused != null) {
            return CompletableFuture.failedFuture(refused);
        }
        long id = ids.incrementAndGet();
        CompletableFuture<byte[]> reply = new CompletableFuture<>();
        ByteBuf frame = encode(Frame.newBuilder()
                .setRequest(SessionProto.Request.newBuilder()
                        .setId(id)
                        .setService(service)
                        .setRemainingMillis((int) timeoutMillis)
                        .setBody(FrameReader.wrap(body))));
        if (!outgoing.take(body.length)) {
            frame.release();
            return CompletableFuture.failedFuture(busy());
        }
        synchronized (this) {
            if (leaving) {
                frame.release();
                outgoing.giveBack(body.length);
                return null;
            }
            open.put(id, reply);
            sendLater(frame, () -> expire(id, reply, timeoutMillis));
        }
        reply.whenComplete((answer, failure) -> {
            open.remove(id);
            outgoing.giveBack(body.length);
            if (reply.isCancelled()) {
                sendLater(encode(Frame.newBuilder().setCancel(id)), () -> {});
            }
            leaveWhenIdle();
        });
        return reply;
    }

    private void expire(long id, CompletableFuture<byte[]> reply, long timeoutMillis) {
        ScheduledFuture<?> deadline = channel.eventLoop()
                .schedule(
                        () -> {
                            if (reply.completeExceptionally(
                                    new MessageException(Code.TIMED_OUT, "no reply within " + timeoutMillis + " ms"))) {
                                send(encode(Frame.newBuilder().setCancel(id)));
                            }
                        },
                        timeoutMillis,
                        TimeUnit.MILLISECONDS);
        reply.whenComplete((answer, failure) -> deadline.cancel(false));
    }

    /** False when the session is being left. */
    boolean oneWay(String service, byte[] body) throws MessageException {
        MessageException refused = refusalOf(body);
        if (refused != null) {
            throw refused;
        }
        ByteBuf frame = encode(Frame.newBuilder()
                .setOneWay(SessionProto.OneWay.newBuilder().setService(service).setBody(FrameReader.wrap(body))));
        synchronized (this) {
            if (leaving) {
                frame.release();
                return false;
            }
            sendLater(frame, () -> {});
        }
        return true;
    }

    private @Nullable MessageException refusalOf(byte[] body) {
        if (body.length > BODY_SIZE_BYTES_MAX) {
            return new MessageException(
                    Code.TOO_LARGE, "body of " + body.length + " bytes, more than " + BODY_SIZE_BYTES_MAX);
        }
        return unsentBytes.get() > messenger.limits().unsentBytesMax() ? busy() : null;
    }

    private MessageException busy() {
        return new MessageException(
                Code.BUSY, "as much is under way to " + session.peer().principal() + " as may be");
    }

    // What the peer sends

    @Override
    public void channelRead(ChannelHandlerContext context, Object message) throws ProtocolViolation {
        if (session.isOver()) {
            return;
        }
        if (!session.hasBegun()) {
            throw new ProtocolViolation("a message before there are streams");
        }
        Frame frame = (Frame) message;
        switch (frame.getKindCase()) {
            case REQUEST -> {
                SessionProto.Request request = frame.getRequest();
                long remainingMillis = Integer.toUnsignedLong(request.getRemainingMillis());
                if (request.getId() == 0 || underWay.containsKey(request.getId())) {
                    throw new ProtocolViolation("request " + request.getId() + " is under way already, or has no id");
                }
                serve(
                        request.getId(),
                        request.getService(),
                        request.getBody(),
                        Math.min(remainingMillis, TIMEOUT_MILLIS_MAX));
            }
            case ONE_WAY ->
                serve(0, frame.getOneWay().getService(), frame.getOneWay().getBody(), ONE_WAY_MILLIS);
            case REPLY -> replied(frame.getReply());
            case CANCEL -> {
                Call call = underWay.remove(frame.getCancel());
                if (call != null) {
                    call.cancel();
                }
            }
            case PING -> send(encode(Frame.newBuilder().setPong(frame.getPing())));
            case PONG -> {
                if (pingNanos != 0 && frame.getPong() == pingNanos) {
                    rttNanos = System.nanoTime() - pingNanos;
                    pingNanos = 0;
                }
            }
            case GOODBYE -> farewell(frame.getGoodbye());
            default -> throw new ProtocolViolation(frame.getKindCase() + " within a session");
        }
    }

    private void replied(SessionProto.Reply reply) {
        CompletableFuture<byte[]> waiting = open.get(reply.getId());
        if (waiting == null) {
            return; // late: its deadline has passed, or nobody waits
        }
        if (reply.getError() == 0) {
            waiting.complete(reply.getBody().toByteArray());
        } else {
            waiting.completeExceptionally(
                    new MessageException(Code.of(reply.getError()), FrameReader.cut(reply.getText())));
        }
    }

    /** Id 0 is for what is not answered. */
    private void serve(long id, String name, ByteString body, long remainingMillis) {
        Services.Running running = messenger.services().find(name);
        Service.MessageHandler handler =
                running == null ? null : running.service().messages();
        if (running == null || handler == null) {
            answer(id, Code.NO_SERVICE, "no service " + name);
            return;
        }
        if (!running.isFor(session.peer())) {
            answer(id, Code.DENIED, session.peer().principal() + " may not use service " + name);
            return;
        }
        if (!session.served().takeMessage(running.service(), body.size())) {
            answer(id, Code.BUSY, "service " + name + " has as much under way as it may");
            return;
        }
        served.incrementAndGet();
        Call call = new Call(
                session.peer(),
                name,
                body.toByteArray(),
                id == 0,
                System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(remainingMillis));
        if (id != 0) {
            underWay.put(id, call);
        }
        ScheduledFuture<?> deadline = channel.eventLoop()
                .schedule(
                        () -> {
                            underWay.remove(id, call);
                            call.cancel();
                        },
                        remainingMillis,
                        TimeUnit.MILLISECONDS);
        Runnable done = () -> {
            served.decrementAndGet();
            session.served().giveMessageBack(running.service(), body.size());
            deadline.cancel(false);
            leaveWhenIdle();
        };
        try {
            running.threads().execute(() -> handle(handler, name, id, call, done));
        } catch (RejectedExecutionException e) {
            done.run();
        }
    }

    private void handle(Service.MessageHandler handler, String name, long id, Call call, Runnable done) {
        if (call.isCancelled()) {
            done.run();
            return;
        }
        CompletionStage<byte[]> stage;
        try {
            if (id != 0 && unsentBytes.get() > messenger.limits().unsentBytesMax()) {
                throw new MessageException(Code.BUSY, "as much waits to be sent to you as may");
            }
            stage = Objects.requireNonNull(handler.handle(call));
        } catch (MessageException | RuntimeException | Error e) {
            stage = CompletableFuture.failedFuture(e);
        }
        stage.whenComplete((body, failure) -> {
            Frame.Builder reply = failure == null ? reply(id, name, body) : failed(id, name, failure);
            // What waits for the loop is unsent already: the next handler has to know of it.
            int waitingBytes = body == null ? 0 : body.length;
            unsentBytes.addAndGet(waitingBytes);
            onLoop(() -> {
                unsentBytes.addAndGet(-waitingBytes);
                try {
                    if (id != 0 && underWay.remove(id, call) && !call.isCancelled()) {
                        send(encode(reply));
                    }
                } finally {
                    done.run();
                }
            });
        });
    }

    private static Frame.Builder reply(long id, String service, byte @Nullable [] body) {
        if (body == null) {
            return id == 0 ? Frame.newBuilder() : failed(id, service, new IllegalStateException("a reply of nothing"));
        }
        if (body.length > BODY_SIZE_BYTES_MAX) {
            return error(id, Code.TOO_LARGE, "reply of " + body.length + " bytes, more than " + BODY_SIZE_BYTES_MAX);
        }
        return Frame.newBuilder()
                .setReply(SessionProto.Reply.newBuilder().setId(id).setBody(FrameReader.wrap(body)));
    }

    private static Frame.Builder failed(long id, String service, Throwable failure) {
        Throwable cause =
                failure instanceof CompletionException && failure.getCause() != null ? failure.getCause() : failure;
        if (cause instanceof MessageException e) {
            return error(id, e.code(), String.valueOf(e.getMessage()));
        }
        log.atError().addKeyValue("service", service).setCause(cause).log("service_failed");
        return error(id, Code.FAILED, "service " + service + " failed");
    }

    private static Frame.Builder error(long id, Code code, String text) {
        return Frame.newBuilder()
                .setReply(SessionProto.Reply.newBuilder()
                        .setId(id)
                        .setError(code.number())
                        .setText(FrameReader.cut(text)));
    }

    private void answer(long id, Code code, String text) {
        if (id != 0) {
            send(encode(error(id, code, text)));
        }
    }

    // The session's life

    /** On any thread. */
    void ping() {
        onLoop(() -> {
            pingNanos = System.nanoTime();
            send(encode(Frame.newBuilder().setPing(pingNanos)));
        });
    }

    /** Nothing new is asked from now on. */
    void sayGoodbye(Session.Goodbye code, String reason) {
        synchronized (this) {
            if (leaving) {
                return;
            }
            leaving = true;
            sendLater(
                    encode(Frame.newBuilder()
                            .setGoodbye(SessionProto.Goodbye.newBuilder()
                                    .setCode(code.ordinal())
                                    .setText(FrameReader.cut(reason)))),
                    () -> {});
        }
    }

    /** Another session has taken this one's place: it ends when both sides have said so and nothing is under way. */
    void drain() {
        sayGoodbye(Session.Goodbye.REPLACED, "there is another session");
        later(messenger.limits().times().drainMillis(), () -> session.lose("replaced, and not done in time"));
        leaveWhenIdle();
    }

    /** The other session that the peer has may not have begun here yet: until it has, this one is asked. */
    private void farewell(SessionProto.Goodbye goodbye) {
        goodbyeReceived = true;
        if (Session.Goodbye.of(goodbye.getCode()) == Session.Goodbye.REPLACED) {
            leaveWhenIdle();
        } else {
            session.lose("the peer says goodbye: " + FrameReader.cut(goodbye.getText()));
        }
    }

    /** Idle here is not idle there: what was just sent has its time to arrive, and the answer to it, too. */
    void leaveWhenIdle() {
        synchronized (this) {
            if (!leaving || session.isOver()) {
                return;
            }
        }
        later(TcpTransport.FAREWELL_MILLIS, () -> {
            if (!goodbyeReceived || !session.isIdle()) {
                return; // what changes that comes here again
            }
            if (unsentBytes.get() > 0) {
                leaveWhenIdle();
            } else {
                session.lose("replaced");
            }
        });
    }

    /** Fails what is open, and closes the connection once what was given to it is sent. */
    void end(String reason) {
        synchronized (this) {
            leaving = true;
        }
        open.values()
                .forEach(reply -> reply.completeExceptionally(
                        new MessageException(Code.DISCONNECTED, "the session ended: " + reason)));
        onLoop(() -> {
            channel.writeAndFlush(channel.alloc().buffer(0)).addListener(ChannelFutureListener.CLOSE);
            channel.eventLoop().schedule(() -> channel.close(), TcpTransport.FAREWELL_MILLIS, TimeUnit.MILLISECONDS);
            underWay.values().forEach(Call::cancel);
            underWay.clear();
        });
    }

    @Override
    public void channelInactive(ChannelHandlerContext context) {
        session.lose("the connection was closed");
    }

    @Override
    public void exceptionCaught(ChannelHandlerContext context, Throwable cause) {
        Throwable reason = cause.getCause() instanceof ProtocolViolation violation ? violation : cause;
        if (reason instanceof ProtocolViolation) {
            session.leave(Session.Goodbye.PROTOCOL, String.valueOf(reason.getMessage()));
        } else {
            session.lose(String.valueOf(reason.getMessage()));
        }
    }

    // Sending

    private ByteBuf encode(Frame.Builder frame) {
        return FrameReader.encode(channel.alloc(), frame.build());
    }

    /** On any thread; {@code then} runs on the loop. What waits for the loop is unsent already. */
    private void sendLater(ByteBuf frame, Runnable then) {
        int costBytes = unsent(frame);
        boolean taken = onLoop(() -> {
            write(frame, costBytes);
            then.run();
        });
        if (!taken) {
            frame.release();
        }
    }

    /** On the event loop. */
    private void send(ByteBuf frame) {
        write(frame, unsent(frame));
    }

    private int unsent(ByteBuf frame) {
        int costBytes = frame.readableBytes() + UNSENT_FRAME_BYTES;
        unsentBytes.addAndGet(costBytes);
        return costBytes;
    }

    private void write(ByteBuf frame, int costBytes) {
        channel.writeAndFlush(frame).addListener(sent -> unsentBytes.addAndGet(-costBytes));
        if (unsentBytes.get() > UNSENT_FACTOR_MAX * messenger.limits().unsentBytesMax()) {
            session.lose("the peer does not read what is sent to it");
        }
    }

    void later(long millis, Runnable task) {
        onLoop(() -> channel.eventLoop().schedule(task, millis, TimeUnit.MILLISECONDS));
    }

    private boolean onLoop(Runnable task) {
        return Loops.execute(channel.eventLoop(), task);
    }
}
