package blocktree.btmsg.session;

import static java.nio.charset.StandardCharsets.UTF_8;

import blocktree.btmsg.session.MessageException.Code;
import io.netty.buffer.ByteBuf;
import io.netty.buffer.Unpooled;
import io.netty.channel.Channel;
import io.netty.channel.ChannelHandlerContext;
import io.netty.channel.ChannelInboundHandlerAdapter;
import io.netty.channel.ChannelOutboundBuffer;
import java.time.Duration;
import java.util.Arrays;
import java.util.LinkedHashSet;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The streams of a session (docs/messages.md, "The stream lane"). Bodies of DATA are handed on as they arrive, in slices of the buffers
 * that TLS decrypted into. Frames are sent by tasks of the event loop; streams that have some take turns while the connection takes
 * them. What only the loop touches is marked so.
 */
final class StreamLane extends ChannelInboundHandlerAdapter {
    static final int FRAME_SIZE_BYTES_MAX = 256 << 10;
    static final int WINDOW_SIZE_BYTES = 1 << 20;
    /** Opened by one side at a time. */
    static final int STREAMS_MAX = 32;

    static final int HEADER_SIZE_BYTES_MAX = 64 << 10;
    static final int HEAD_SIZE_BYTES = 12;

    private static final int OPEN = 1;
    private static final int DATA = 2;
    private static final int CREDIT = 3;
    private static final int END = 4;
    private static final int RESET = 5;

    private static final int OPEN_SIZE_BYTES_MAX = 1 + Service.NAME_SIZE_BYTES_MAX + HEADER_SIZE_BYTES_MAX;

    /** How much is encrypted before other connections of the loop have their turn. */
    private static final int TURN_SIZE_BYTES = 256 << 10;

    private static final long UNSENT_SIZE_BYTES_MAX = 8 << 20;
    private static final Duration PATIENCE = Duration.ofSeconds(60);

    private static final Logger log = LoggerFactory.getLogger(StreamLane.class);

    private final Messenger messenger;
    private final Session session;
    private final Channel channel;
    private final Map<Integer, PeerStream> streams = new ConcurrentHashMap<>();

    // guarded by this
    private int nextId;
    private int openedHere;
    private boolean over;

    // of the event loop
    private final Set<PeerStream> ready = new LinkedHashSet<>();
    private boolean turnAwaited;
    private final byte[] head = new byte[HEAD_SIZE_BYTES];
    private int headSizeBytes;
    private int kind;
    private int id;
    private int leftBytes;
    private byte[] control = {};
    private int lastOpenedByPeer;
    private int openedByPeer;

    StreamLane(Messenger messenger, Session session, Channel channel) {
        this.messenger = messenger;
        this.session = session;
        this.channel = channel;
        this.nextId = session.terms().dialled() ? 1 : 2;
    }

    boolean isIdle() {
        return streams.isEmpty();
    }

    ByteBuf allocate(int sizeBytes) {
        return channel.alloc().directBuffer(sizeBytes, sizeBytes);
    }

    // What this node opens and sends

    PeerStream open(String service, byte[] header, Duration patience) throws MessageException {
        byte[] name = service.getBytes(UTF_8);
        if (header.length > HEADER_SIZE_BYTES_MAX) {
            throw new MessageException(
                    Code.TOO_LARGE, "header of " + header.length + " bytes, more than " + HEADER_SIZE_BYTES_MAX);
        }
        ByteBuf body = allocate(1 + name.length + header.length);
        body.writeByte(name.length).writeBytes(name).writeBytes(header);
        synchronized (this) {
            boolean numbersLeft = nextId > 0; // for a thousand million streams
            if (over || !numbersLeft || openedHere >= STREAMS_MAX) {
                body.release();
                if (!numbersLeft) {
                    onLoop(() -> session.lose("its numbers for streams are used up"), null);
                }
                throw over || !numbersLeft
                        ? new MessageException(Code.DISCONNECTED, "the session ended")
                        : new MessageException(Code.BUSY, STREAMS_MAX + " streams are open");
            }
            openedHere++;
            PeerStream stream = new PeerStream(this, nextId, session.peer(), service, header, patience);
            streams.put(nextId, stream);
            nextId += 2;
            onLoop(() -> send(OPEN, stream.id(), body), body);
            return stream;
        }
    }

    /** On any thread: the stream has something to send. */
    void isReady(PeerStream stream) {
        onLoop(
                () -> {
                    ready.add(stream);
                    pump();
                },
                null);
    }

    private void pump() {
        int turnSizeBytes = 0;
        while (!turnAwaited && channel.isWritable() && !ready.isEmpty()) {
            PeerStream next = ready.iterator().next();
            ready.remove(next);
            ByteBuf body = next.nextToSend(Unpooled.EMPTY_BUFFER);
            if (body != null) {
                turnSizeBytes += body.readableBytes();
                write(body.isReadable() ? DATA : END, next.id(), body);
                if (next.hasMoreToSend()) {
                    ready.add(next);
                }
            }
            forgetWhenDone(next);
            if (turnSizeBytes >= TURN_SIZE_BYTES) {
                awaitTurn();
            }
        }
        channel.flush();
    }

    /** Scheduled and not executed: a loop executes tasks as long as there are some, and sees to its connections then. */
    private void awaitTurn() {
        turnAwaited = true;
        channel.eventLoop()
                .schedule(
                        () -> {
                            turnAwaited = false;
                            pump();
                        },
                        0,
                        TimeUnit.NANOSECONDS);
    }

    void sendCredit(int stream, int sizeBytes) {
        onLoop(() -> send(CREDIT, stream, channel.alloc().buffer(4).writeInt(sizeBytes)), null);
    }

    void showLife() {
        sendCredit(0, 0);
    }

    void reset(PeerStream stream, Code code) {
        onLoop(
                () -> {
                    if (streams.containsKey(stream.id())) {
                        forget(stream);
                        sendReset(stream.id(), code);
                    }
                },
                null);
    }

    private void sendReset(int stream, Code code) {
        send(RESET, stream, channel.alloc().buffer(4).writeInt(code.number()));
    }

    private void send(int frameKind, int stream, ByteBuf body) {
        write(frameKind, stream, body);
        channel.flush();
        ChannelOutboundBuffer waiting = channel.unsafe().outboundBuffer();
        if (waiting != null && waiting.totalPendingWriteBytes() > UNSENT_SIZE_BYTES_MAX) {
            session.lose("the peer opens streams and does not read");
        }
    }

    private void write(int frameKind, int stream, ByteBuf body) {
        ByteBuf frameHead = channel.alloc()
                .buffer(HEAD_SIZE_BYTES)
                .writeByte(frameKind)
                .writeZero(3)
                .writeInt(stream)
                .writeInt(body.readableBytes());
        channel.write(frameHead);
        channel.write(body);
    }

    // What the peer sends

    @Override
    public void channelRead(ChannelHandlerContext context, Object message) throws ProtocolViolation {
        ByteBuf in = (ByteBuf) message;
        try {
            while (in.isReadable() && !session.isOver()) {
                if (headSizeBytes < HEAD_SIZE_BYTES) {
                    int sizeBytes = Math.min(in.readableBytes(), HEAD_SIZE_BYTES - headSizeBytes);
                    in.readBytes(head, headSizeBytes, sizeBytes);
                    headSizeBytes += sizeBytes;
                    if (headSizeBytes == HEAD_SIZE_BYTES) {
                        begin();
                    }
                } else {
                    int sizeBytes = Math.min(in.readableBytes(), leftBytes);
                    leftBytes -= sizeBytes;
                    body(in, sizeBytes);
                }
                if (headSizeBytes == HEAD_SIZE_BYTES && leftBytes == 0) {
                    headSizeBytes = 0;
                    finish();
                }
            }
        } finally {
            in.release();
        }
    }

    private void begin() throws ProtocolViolation {
        ByteBuf fields = Unpooled.wrappedBuffer(head);
        kind = fields.readByte();
        int zero = fields.readMedium();
        id = fields.readInt();
        leftBytes = fields.readInt();
        int sizeBytesMax = switch (kind) {
            case OPEN -> OPEN_SIZE_BYTES_MAX;
            case DATA -> FRAME_SIZE_BYTES_MAX;
            case CREDIT, RESET -> 4;
            case END -> 0;
            default -> throw new ProtocolViolation("frame of unknown kind " + kind);
        };
        if (zero != 0 || leftBytes < 0 || leftBytes > sizeBytesMax) {
            throw new ProtocolViolation("frame of kind " + kind + " with " + leftBytes + " bytes");
        }
        if (kind != DATA) {
            control = new byte[leftBytes];
            return;
        }
        PeerStream stream = find();
        if (stream != null) {
            stream.announced(leftBytes);
        }
    }

    private void body(ByteBuf in, int sizeBytes) {
        if (kind == DATA) {
            PeerStream stream = streams.get(id);
            if (stream == null) {
                in.skipBytes(sizeBytes);
            } else {
                stream.deliver(in.readRetainedSlice(sizeBytes), in.capacity());
            }
            return;
        }
        in.readBytes(control, control.length - leftBytes - sizeBytes, sizeBytes);
    }

    /** A frame is complete. */
    private void finish() throws ProtocolViolation {
        switch (kind) {
            case OPEN -> opened();
            case CREDIT -> {
                int sizeBytes = number();
                if (id == 0) {
                    return; // a sign of life
                }
                PeerStream stream = find();
                if (stream != null) {
                    stream.credited(sizeBytes);
                }
            }
            case END -> {
                PeerStream stream = find();
                if (stream != null) {
                    stream.ended();
                    forgetWhenDone(stream);
                }
            }
            case RESET -> {
                PeerStream stream = find();
                if (stream != null) {
                    forget(stream);
                    stream.fail(new MessageException(Code.of(number()), "the peer has ended the stream"));
                }
            }
            default -> {
                // DATA was delivered as it came
            }
        }
    }

    private int number() throws ProtocolViolation {
        if (control.length != 4) {
            throw new ProtocolViolation("frame of kind " + kind + " without a number");
        }
        return Unpooled.wrappedBuffer(control).readInt();
    }

    private boolean isPeers(int stream) {
        return (stream & 1) == (session.terms().dialled() ? 0 : 1);
    }

    /** Null when it is over already. */
    private @Nullable PeerStream find() throws ProtocolViolation {
        PeerStream stream = streams.get(id);
        if (stream == null && (isPeers(id) ? id < 1 || id > lastOpenedByPeer : !wasOpenedHere(id))) {
            throw new ProtocolViolation("stream " + Integer.toUnsignedString(id) + " was never opened");
        }
        return stream;
    }

    private synchronized boolean wasOpenedHere(int stream) {
        return stream > 0 && stream < nextId;
    }

    private void opened() throws ProtocolViolation {
        if (id <= lastOpenedByPeer || !isPeers(id)) {
            throw new ProtocolViolation("stream " + Integer.toUnsignedString(id) + " cannot be opened");
        }
        lastOpenedByPeer = id;
        if (control.length < 1 || control[0] < 1 || control.length < 1 + control[0]) {
            throw new ProtocolViolation("a stream is opened to no service");
        }
        String name = new String(control, 1, control[0], UTF_8);
        byte[] header = Arrays.copyOfRange(control, 1 + control[0], control.length);
        Services.Running running = messenger.services().find(name);
        Service.StreamHandler handler =
                running == null ? null : running.service().streams();
        if (running == null || handler == null) {
            sendReset(id, Code.NO_SERVICE);
        } else if (!running.isFor(session.peer())) {
            sendReset(id, Code.DENIED);
        } else if (openedByPeer >= STREAMS_MAX || !session.served().takeStream()) {
            sendReset(id, Code.BUSY);
        } else {
            openedByPeer++;
            PeerStream stream = new PeerStream(this, id, session.peer(), name, header, PATIENCE);
            streams.put(id, stream);
            try {
                messenger.services().streamThreads().execute(() -> handle(handler, stream));
            } catch (RejectedExecutionException e) {
                stream.close();
                session.served().giveStreamBack();
            }
            if (isOver()) {
                stream.fail(new MessageException(Code.DISCONNECTED, "the session ended"));
            }
        }
    }

    private synchronized boolean isOver() {
        return over;
    }

    private void handle(Service.StreamHandler handler, PeerStream stream) {
        try {
            if (!stream.isLost()) {
                handler.handle(stream);
            }
        } catch (MessageException e) {
            log.atDebug()
                    .addKeyValue("service", stream.service())
                    .addKeyValue("peer", stream.peer().principal())
                    .addKeyValue("reason", e.getMessage())
                    .log("stream_ended");
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        } catch (RuntimeException | Error e) {
            log.atError().addKeyValue("service", stream.service()).setCause(e).log("service_failed");
        } finally {
            stream.close();
            session.served().giveStreamBack();
        }
    }

    // The life of streams and lane

    private void forgetWhenDone(PeerStream stream) {
        if (stream.isDone() && streams.containsKey(stream.id())) {
            if (stream.isCutOff()) {
                sendReset(stream.id(), Code.CANCELLED);
            }
            forget(stream);
        }
    }

    /** On the event loop. */
    private void forget(PeerStream stream) {
        ready.remove(stream);
        if (streams.remove(stream.id(), stream)) {
            if (isPeers(stream.id())) {
                openedByPeer--;
            } else {
                synchronized (this) {
                    openedHere--;
                }
            }
            session.messages().leaveWhenIdle();
        }
    }

    void end(String reason) {
        synchronized (this) {
            over = true;
        }
        channel.close();
        streams.values()
                .forEach(
                        stream -> stream.fail(new MessageException(Code.DISCONNECTED, "the session ended: " + reason)));
        streams.clear();
    }

    private void onLoop(Runnable task, @Nullable ByteBuf ifNot) {
        if (!Loops.execute(channel.eventLoop(), task) && ifNot != null) {
            ifNot.release();
        }
    }

    @Override
    public void channelWritabilityChanged(ChannelHandlerContext context) {
        pump();
    }

    @Override
    public void channelInactive(ChannelHandlerContext context) {
        session.streamsClosed();
    }

    @Override
    public void exceptionCaught(ChannelHandlerContext context, Throwable cause) {
        if (cause instanceof ProtocolViolation) {
            session.leave(Session.Goodbye.PROTOCOL, String.valueOf(cause.getMessage()));
        } else {
            session.lose(String.valueOf(cause.getMessage()));
        }
    }
}
