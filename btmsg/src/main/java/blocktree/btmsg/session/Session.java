package blocktree.btmsg.session;

import io.netty.channel.Channel;
import java.net.SocketAddress;
import java.util.List;
import java.util.Objects;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import org.jspecify.annotations.Nullable;

/** Two connections with one peer: messages, and, once it is attached, streams. The loss of either ends it. Thread-safe. */
final class Session {

    /** Why a session is left, with the numbers of the wire. */
    enum Goodbye {
        OTHER,
        /** The node stops. */
        CLOSING,
        /** There is another session between the two nodes, which goes on. */
        REPLACED,
        /** The peer is no longer welcome. */
        EXPELLED,
        /** The other side did what no node does. */
        PROTOCOL;

        private static final Goodbye[] VALUES = values();

        static Goodbye of(int number) {
            return number > 0 && number < VALUES.length ? VALUES[number] : OTHER;
        }
    }

    /**
     * @param dialled whether this node has opened it
     * @param clockDifferenceMillis by how much the peer's clock was ahead when the session began, with the time of one way
     */
    record Terms(
            PeerIdentity peer,
            SocketAddress address,
            boolean dialled,
            int version,
            List<String> features,
            long clockDifferenceMillis) {}

    private final Messenger messenger;
    private final Terms terms;
    private final long startNanos = System.nanoTime();
    private final AtomicBoolean over = new AtomicBoolean();
    private final MessageLane messages;
    private final Traffic messageTraffic;
    private volatile @Nullable Served served;
    private volatile @Nullable StreamLane streams;
    private volatile @Nullable Traffic streamTraffic;
    private long pingedNanos = System.nanoTime();

    Session(Messenger messenger, Terms terms, Channel channel) {
        this.messenger = messenger;
        this.terms = terms;
        this.messages = new MessageLane(messenger, this, channel);
        this.messageTraffic = channel.pipeline().get(Traffic.class);
    }

    Terms terms() {
        return terms;
    }

    PeerIdentity peer() {
        return terms.peer;
    }

    MessageLane messages() {
        return messages;
    }

    /** The connection for streams is there. Called on its loop; what it then sends comes after what the caller sends at once. */
    StreamLane begin(Channel channel) {
        StreamLane lane = new StreamLane(messenger, this, channel);
        streamTraffic = channel.pipeline().get(Traffic.class);
        streams = lane;
        if (over.get()) {
            channel.close();
            return lane;
        }
        served = messenger.established(this).served();
        messages.channel().config().setAutoRead(true);
        messages.ping();
        long everyMillis = Math.max(1, messenger.limits().times().pingMillis() / 4);
        var beat = messages.channel()
                .eventLoop()
                .scheduleAtFixedRate(this::beat, everyMillis, everyMillis, TimeUnit.MILLISECONDS);
        messages.channel().closeFuture().addListener(closed -> beat.cancel(false));
        return lane;
    }

    boolean hasBegun() {
        return served != null;
    }

    /** What the peer has this node do, in other sessions too. Only once this one has begun. */
    Served served() {
        return Objects.requireNonNull(served);
    }

    private void beat() {
        Traffic second = streamTraffic;
        StreamLane lane = streams;
        if (second == null || lane == null) {
            return;
        }
        long silentMillis = Math.max(messageTraffic.silentMillis(), second.silentMillis());
        if (silentMillis >= messenger.limits().times().silentMillis()) {
            lose("nothing was heard for " + silentMillis + " ms");
            return;
        }
        long now = System.nanoTime();
        if (now - pingedNanos
                >= TimeUnit.MILLISECONDS.toNanos(messenger.limits().times().pingMillis())) {
            pingedNanos = now;
            messages.ping();
            lane.showLife();
            messenger.expelUnlessWelcome(this); // time passes without a record that says so
        }
    }

    /** For openers of streams; null before and after. */
    @Nullable
    StreamLane streams() {
        return over.get() ? null : streams;
    }

    boolean isIdle() {
        StreamLane lane = streams;
        return messages.isIdle() && (lane == null || lane.isIdle());
    }

    long bytesIn() {
        Traffic second = streamTraffic;
        return messageTraffic.bytesIn() + (second == null ? 0 : second.bytesIn());
    }

    long bytesOut() {
        Traffic second = streamTraffic;
        return messageTraffic.bytesOut() + (second == null ? 0 : second.bytesOut());
    }

    long lastedMillis() {
        return TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - startNanos);
    }

    boolean isOver() {
        return over.get();
    }

    /** Tells the peer why, and ends. */
    void leave(Goodbye code, String reason) {
        messages.sayGoodbye(code, reason);
        lose(reason);
    }

    /** The connection for streams has gone: that for messages has a moment to say why. */
    void streamsClosed() {
        messages.later(TcpTransport.FAREWELL_MILLIS, () -> lose("the connection for streams was closed"));
    }

    /** Ends at once: what is open fails with DISCONNECTED. */
    void lose(String reason) {
        if (!over.compareAndSet(false, true)) {
            return;
        }
        messages.end(reason);
        StreamLane lane = streams;
        if (lane != null) {
            lane.end(reason);
        }
        messenger.ended(this, reason);
    }

    @Override
    public String toString() {
        return "Session[" + terms.peer.principal() + (terms.dialled ? ", dialled" : ", answered") + "]";
    }
}
