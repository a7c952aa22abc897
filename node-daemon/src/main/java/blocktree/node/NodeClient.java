package blocktree.node;

import blocktree.btmsg.ControlClient;
import blocktree.btmsg.ControlException;
import blocktree.btmsg.ControlReply;
import blocktree.btmsg.ControlRequest;
import java.io.IOException;
import java.net.ConnectException;
import java.net.SocketException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Optional;
import java.util.function.Consumer;

/** The command line as a client of a running node. */
final class NodeClient implements AutoCloseable {
    private static final Duration GREETING_TIMEOUT = Duration.ofSeconds(20);
    private static final Duration ANSWER_TIMEOUT = Duration.ofMinutes(2);
    /** A check of a large store takes long and reports progress meanwhile. */
    private static final Duration CHECK_TIMEOUT = Duration.ofDays(7);

    private final ControlClient client;
    private final DataDirectory directory;

    private NodeClient(ControlClient client, DataDirectory directory) {
        this.client = client;
        this.directory = directory;
    }

    /** Empty when no node runs on the directory. */
    static Optional<NodeClient> connect(DataDirectory directory) throws NodeException {
        Path socket = directory.controlSocket();
        if (!Files.exists(socket)) {
            return Optional.empty();
        }
        try {
            ControlClient client = ControlClient.connect(socket);
            try {
                client.greet(GREETING_TIMEOUT);
            } catch (ControlException e) {
                client.close();
                throw e;
            }
            return Optional.of(new NodeClient(client, directory));
        } catch (ConnectException e) {
            return Optional.empty(); // a node that was killed has left its socket
        } catch (SocketException e) {
            // "Connection refused" and "Permission denied" come without a class of their own
            if (String.valueOf(e.getMessage()).contains("refused")) {
                return Optional.empty();
            }
            throw unreachable(directory, e);
        } catch (IOException e) {
            throw unreachable(directory, e);
        }
    }

    static NodeClient require(DataDirectory directory) throws NodeException {
        return connect(directory).orElseThrow(() -> notRunning(directory));
    }

    static NodeException notRunning(DataDirectory directory) {
        return new NodeException(
                ExitCode.NOT_RUNNING,
                "to reach the node of " + directory.path(),
                "no node runs on it",
                "start it: btnode run --data-dir " + directory.path() + " --mount DIRECTORY");
    }

    private static NodeException unreachable(DataDirectory directory, IOException e) {
        return new NodeException(
                e instanceof ControlException c && c.code() == ControlException.Code.TIMED_OUT
                        ? ExitCode.TIMED_OUT
                        : ExitCode.FAILED,
                "to reach the node of " + directory.path(),
                String.valueOf(e.getMessage()),
                "run the command as the user who runs the node, or as root; look at the node's log",
                e);
    }

    ControlReply call(ControlRequest request) throws NodeException {
        return call(request, ANSWER_TIMEOUT, part -> {});
    }

    ControlReply check(ControlRequest request, Consumer<ControlReply> parts) throws NodeException {
        return call(request, CHECK_TIMEOUT, parts);
    }

    private ControlReply call(ControlRequest request, Duration timeout, Consumer<ControlReply> parts)
            throws NodeException {
        try {
            ControlReply reply = client.call(request, timeout, parts);
            if (reply instanceof ControlReply.Failed failed) {
                throw Failures.of(failed);
            }
            return reply;
        } catch (ControlException e) {
            throw unreachable(directory, e);
        }
    }

    /** Whether the node was gone within {@code timeout}. */
    boolean awaitGone(Duration timeout) throws InterruptedException {
        return client.awaitClosed(timeout);
    }

    @Override
    public void close() {
        try {
            client.close();
        } catch (IOException e) {
            // nothing is left to lose on it
        }
    }
}
