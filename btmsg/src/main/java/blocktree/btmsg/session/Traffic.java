package blocktree.btmsg.session;

import io.netty.buffer.ByteBuf;
import io.netty.channel.ChannelDuplexHandler;
import io.netty.channel.ChannelHandlerContext;
import io.netty.channel.ChannelPromise;
import java.util.concurrent.TimeUnit;

/** Counts the bytes of one connection, as they are on the wire, and knows when the other side was last heard of. */
final class Traffic extends ChannelDuplexHandler {
    private volatile long bytesIn;
    private volatile long bytesOut;
    private volatile long heardNanos = System.nanoTime();

    @Override
    public void channelRead(ChannelHandlerContext context, Object message) {
        add(((ByteBuf) message).readableBytes(), 0);
        heardNanos = System.nanoTime();
        context.fireChannelRead(message);
    }

    @Override
    public void write(ChannelHandlerContext context, Object message, ChannelPromise promise) {
        add(0, ((ByteBuf) message).readableBytes());
        context.write(message, promise);
    }

    /** On the event loop alone. */
    @SuppressWarnings("NonAtomicVolatileUpdate") // one writer
    private void add(int in, int out) {
        bytesIn += in;
        bytesOut += out;
    }

    long bytesIn() {
        return bytesIn;
    }

    long bytesOut() {
        return bytesOut;
    }

    long silentMillis() {
        return TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - heardNanos);
    }
}
