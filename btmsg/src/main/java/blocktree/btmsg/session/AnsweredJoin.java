package blocktree.btmsg.session;

import blocktree.btmsg.session.SessionProto.Frame;
import blocktree.crypto.Hash;
import io.netty.channel.ChannelFutureListener;
import io.netty.channel.ChannelHandlerContext;
import io.netty.channel.ChannelInboundHandlerAdapter;
import io.netty.util.ReferenceCountUtil;
import java.net.InetSocketAddress;
import java.util.concurrent.Callable;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * A connection over which somebody who is no node asks to become one, from the end of the TLS handshake on (docs/joining.md). It keeps
 * its place among those that are half open until it ends. All on the event loop, but for what {@link JoinDesk} does.
 */
final class AnsweredJoin extends ChannelInboundHandlerAdapter {

    /** How many times as long as for its words: for the tree's log to take what makes a node. */
    static final int CERTIFYING_FACTOR = 6;

    private static final Logger log = LoggerFactory.getLogger(AnsweredJoin.class);

    /** What the other side is to say next. */
    private enum Awaited {
        HELLO,
        REQUEST,
        NOTHING
    }

    private final JoinDesk desk;
    private final InetSocketAddress address;
    private final Hash keyInfo;
    private final long sayingMillis;
    private Awaited awaited = Awaited.HELLO;
    private JoinDesk.@Nullable Greeted greeted;
    private boolean requested;
    private boolean over;

    /**
     * @param keyInfo of this member's certificate on the connection
     * @param sayingMillis how long the other side may take for its two words
     */
    AnsweredJoin(JoinDesk desk, InetSocketAddress address, Hash keyInfo, long sayingMillis) {
        this.desk = desk;
        this.address = address;
        this.keyInfo = keyInfo;
        this.sayingMillis = sayingMillis;
    }

    @Override
    public void handlerAdded(ChannelHandlerContext context) {
        context.executor()
                .schedule(
                        () -> {
                            if (!requested) {
                                end(context, "no request within " + sayingMillis + " ms");
                            }
                        },
                        sayingMillis,
                        TimeUnit.MILLISECONDS);
    }

    @Override
    public void channelRead(ChannelHandlerContext context, Object message) throws ProtocolViolation {
        if (over) {
            ReferenceCountUtil.release(message);
            return;
        }
        JoinProto.Join step = ((Frame) message).getJoin();
        JoinDesk.Greeted offered = greeted;
        if (awaited == Awaited.HELLO && step.hasHello()) {
            awaited = Awaited.NOTHING;
            decide(context, () -> desk.greet(step.getHello(), keyInfo), made -> {
                greeted = made;
                awaited = Awaited.REQUEST;
                send(context, JoinProto.Join.newBuilder().setOffer(made.message()), false);
                send(context, JoinProto.Join.newBuilder().setTree(made.tree()), false);
            });
        } else if (awaited == Awaited.REQUEST && step.hasRequest() && offered != null) {
            awaited = Awaited.NOTHING;
            requested = true;
            context.executor()
                    .schedule(
                            () -> certifyingTakesTooLong(context),
                            CERTIFYING_FACTOR * sayingMillis,
                            TimeUnit.MILLISECONDS);
            decide(context, () -> desk.admit(offered, step.getRequest()), welcome -> {
                over = true;
                send(context, JoinProto.Join.newBuilder().setWelcome(welcome), true);
            });
        } else {
            throw new ProtocolViolation("a word that nobody asked for");
        }
    }

    private void certifyingTakesTooLong(ChannelHandlerContext context) {
        if (over) {
            context.close(); // the answer is there, and nobody reads it
        } else {
            refuse(
                    context,
                    new JoinException(
                            JoinException.Code.FAILED,
                            "the member could not make this machine a node in time: try again, with the same keys"));
        }
    }

    /** Has the desk work on its own threads, and goes on here. */
    private <T> void decide(ChannelHandlerContext context, Callable<T> work, Consumer<T> then) {
        try {
            desk.threads().execute(() -> {
                try {
                    T result = work.call();
                    Loops.execute(context.channel().eventLoop(), () -> {
                        if (!over) {
                            then.accept(result);
                        }
                    });
                } catch (JoinException e) {
                    Loops.execute(context.channel().eventLoop(), () -> refuse(context, e));
                } catch (Exception e) {
                    Loops.execute(context.channel().eventLoop(), () -> end(context, String.valueOf(e.getMessage())));
                }
            });
        } catch (RejectedExecutionException e) {
            refuse(context, new JoinException(JoinException.Code.BUSY, "the member has others to take in: try again"));
        }
    }

    private void refuse(ChannelHandlerContext context, JoinException reason) {
        if (over) {
            return;
        }
        over = true;
        context.pipeline().remove(FrameReader.class); // nothing that the other side says is read
        send(
                context,
                JoinProto.Join.newBuilder()
                        .setRefusal(JoinProto.JoinRefusal.newBuilder()
                                .setCode(reason.code().number())
                                .setText(FrameReader.cut(String.valueOf(reason.getMessage())))),
                false);
        // Were the connection closed at once, what the other side has sent unread would take the refusal with it.
        context.executor().schedule(() -> context.close(), Greeting.REFUSED_MILLIS, TimeUnit.MILLISECONDS);
        report(reason.code() + ": " + reason.getMessage());
    }

    private void end(ChannelHandlerContext context, String reason) {
        context.close();
        if (!over) {
            over = true;
            report(reason);
        }
    }

    private void report(String reason) {
        if (desk.mayLog()) {
            log.atWarn()
                    .addKeyValue("address", address)
                    .addKeyValue("reason", reason)
                    .log("join_refused");
        }
    }

    private void send(ChannelHandlerContext context, JoinProto.Join.Builder step, boolean last) {
        var sent = context.writeAndFlush(FrameReader.encode(
                context.alloc(), Frame.newBuilder().setJoin(step).build()));
        if (last) {
            sent.addListener(ChannelFutureListener.CLOSE);
        }
    }

    @Override
    public void channelInactive(ChannelHandlerContext context) {
        if (awaited == Awaited.REQUEST) {
            over = true; // it has looked, and a person compares: nothing to report
        }
        end(context, "the connection was closed");
    }

    @Override
    public void exceptionCaught(ChannelHandlerContext context, Throwable cause) {
        end(context, Greeting.deepest(cause));
    }
}
