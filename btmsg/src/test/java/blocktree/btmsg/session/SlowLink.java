package blocktree.btmsg.session;

import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;

/** Passes connections on to a node, and of what the dialler sends on all of them together so many bytes a second. */
final class SlowLink implements AutoCloseable {
    private static final int PIECE_SIZE_BYTES = 8 << 10;

    private final ServerSocket listening = new ServerSocket(0, 50, InetAddress.getLoopbackAddress());
    private final List<Socket> sockets = new CopyOnWriteArrayList<>();
    private final InetSocketAddress target;
    private final long bytesPerSecond;
    private volatile boolean cut;

    // guarded by this
    private long freeNanos = System.nanoTime();

    SlowLink(InetSocketAddress target, long bytesPerSecond) throws IOException {
        this.target = target;
        this.bytesPerSecond = bytesPerSecond;
        start(this::accept);
    }

    InetSocketAddress address() {
        return new InetSocketAddress("127.0.0.1", listening.getLocalPort());
    }

    /** From now on nothing passes, and nobody is told. */
    void cut() {
        cut = true;
    }

    private static void start(Runnable task) {
        Thread thread = new Thread(task, "slow-link");
        thread.setDaemon(true);
        thread.start();
    }

    private void accept() {
        try {
            while (true) {
                Socket from = listening.accept();
                Socket to = new Socket(target.getAddress(), target.getPort());
                sockets.add(from);
                sockets.add(to);
                from.setTcpNoDelay(true);
                to.setTcpNoDelay(true);
                start(() -> pass(from, to, true));
                start(() -> pass(to, from, false));
            }
        } catch (IOException e) {
            // closed
        }
    }

    private void pass(Socket from, Socket to, boolean slowly) {
        byte[] buffer = new byte[PIECE_SIZE_BYTES];
        try (InputStream in = from.getInputStream();
                OutputStream out = to.getOutputStream()) {
            int count;
            while ((count = in.read(buffer)) >= 0) {
                if (slowly) {
                    await(count);
                }
                if (!cut) {
                    out.write(buffer, 0, count);
                }
            }
        } catch (IOException | InterruptedException e) {
            // closed
        }
    }

    private void await(int count) throws InterruptedException {
        long waitNanos;
        synchronized (this) {
            long now = System.nanoTime();
            freeNanos = Math.max(freeNanos, now) + count * 1_000_000_000L / bytesPerSecond;
            waitNanos = freeNanos - now;
        }
        if (waitNanos > 0) {
            Thread.sleep(waitNanos / 1_000_000, (int) (waitNanos % 1_000_000));
        }
    }

    @Override
    public void close() throws IOException {
        listening.close();
        for (Socket socket : sockets) {
            socket.close();
        }
    }
}
