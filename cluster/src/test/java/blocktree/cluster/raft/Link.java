package blocktree.cluster.raft;

import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/** Passes connections on to wherever a node listens now, or nothing at all. */
final class Link implements AutoCloseable {
    private final ServerSocket listening;
    private final Supplier<@Nullable InetSocketAddress> target;
    private final List<Socket> sockets = new CopyOnWriteArrayList<>();
    private volatile boolean cut;

    Link(Supplier<@Nullable InetSocketAddress> target) throws IOException {
        this.target = target;
        this.listening = new ServerSocket(0, 50, InetAddress.getLoopbackAddress());
        start(this::accept);
    }

    InetSocketAddress address() {
        return new InetSocketAddress("127.0.0.1", listening.getLocalPort());
    }

    /** From now on nothing passes, and nobody is told. */
    void cut() {
        cut = true;
    }

    void heal() throws IOException {
        cut = false;
        for (Socket socket : sockets) {
            socket.close();
        }
        sockets.clear();
    }

    private static void start(Runnable task) {
        Thread thread = new Thread(task, "link");
        thread.setDaemon(true);
        thread.start();
    }

    private void accept() {
        while (!listening.isClosed()) {
            try {
                Socket from = listening.accept();
                InetSocketAddress address = target.get();
                if (cut || address == null || !passOn(from, address)) {
                    from.close();
                }
            } catch (IOException e) {
                // closed
            }
        }
    }

    private boolean passOn(Socket from, InetSocketAddress address) {
        try {
            Socket to = new Socket(address.getAddress(), address.getPort());
            sockets.add(from);
            sockets.add(to);
            from.setTcpNoDelay(true);
            to.setTcpNoDelay(true);
            start(() -> pass(from, to));
            start(() -> pass(to, from));
            return true;
        } catch (IOException e) {
            // Nobody listens there now.
            return false;
        }
    }

    private void pass(Socket from, Socket to) {
        byte[] buffer = new byte[64 << 10];
        try (InputStream in = from.getInputStream();
                OutputStream out = to.getOutputStream()) {
            int count;
            while ((count = in.read(buffer)) >= 0) {
                if (!cut) {
                    out.write(buffer, 0, count);
                }
            }
        } catch (IOException e) {
            // closed
        }
    }

    @Override
    public void close() throws IOException {
        listening.close();
        heal();
    }
}
