package blocktree.node;

import blocktree.btmsg.ControlClient;
import blocktree.btmsg.ControlException;
import blocktree.btmsg.ControlReply;
import blocktree.btmsg.ControlRequest;
import blocktree.crypto.TreeFounding;
import com.google.protobuf.ByteString;
import java.io.IOException;
import java.net.ConnectException;
import java.net.SocketException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.attribute.BasicFileAttributes;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/** The command line as a client of a running node. */
final class NodeClient implements AutoCloseable {
    private static final Duration GREETING_TIMEOUT = Duration.ofSeconds(5);
    private static final Duration ANSWER_TIMEOUT = Duration.ofMinutes(2);
    private static final Duration STOP_TIMEOUT = Duration.ofMinutes(2);
    /** A check of a large store takes long and reports progress meanwhile. */
    private static final Duration CHECK_TIMEOUT = Duration.ofDays(7);

    private final ControlClient client;
    private final Path directory;

    private NodeClient(ControlClient client, Path directory) {
        this.client = client;
        this.directory = directory;
    }

    /** Empty when no node runs on the data directory. */
    static Optional<NodeClient> connect(Path directory) throws NodeException {
        try {
            Path socket = ControlSocket.find(directory);
            Files.readAttributes(socket, BasicFileAttributes.class);
            ControlClient client = ControlClient.connect(socket);
            try {
                client.greet(GREETING_TIMEOUT);
            } catch (ControlException e) {
                client.close();
                throw e;
            }
            return Optional.of(new NodeClient(client, directory));
        } catch (NoSuchFileException | ConnectException e) {
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

    static NodeClient require(Path directory) throws NodeException {
        Optional<NodeClient> client = connect(directory);
        if (client.isEmpty()) {
            requireNode(directory);
            throw new NodeException(
                    ExitCode.NOT_RUNNING,
                    "to reach the node of " + directory,
                    "no node runs on it",
                    "start it: btnode run --data-dir " + Shell.word(directory) + " --mount DIRECTORY");
        }
        return client.get();
    }

    /** BAD_CONFIGURATION when the directory is none of a node. Its configuration is the node's business: no client reads it. */
    static void requireNode(Path directory) throws NodeException {
        if (Files.notExists(directory.resolve(NodeSettings.FILE_NAME))) {
            throw NodeSettings.noNode(directory);
        }
    }

    private static NodeException unreachable(Path directory, IOException e) {
        String tried = "to reach the node of " + directory;
        return e instanceof ControlException c && c.code() == ControlException.Code.TIMED_OUT
                ? new NodeException(
                        ExitCode.TIMED_OUT,
                        tried,
                        Failures.reason(e),
                        "see whether its process stands still (kill -CONT wakes one that was stopped), and what its log says",
                        e)
                : new NodeException(
                        ExitCode.FAILED,
                        tried,
                        Failures.reason(e),
                        "run the command as the user who runs the node, or as root; look at the node's log",
                        e);
    }

    ControlReply call(ControlRequest request) throws NodeException {
        try (ProgressLine line = ProgressLine.during("waiting for the node")) {
            return call(request, ANSWER_TIMEOUT, part -> {});
        }
    }

    /** As a request has them. */
    static List<ControlRequest.Record> records(List<TreeFounding.Entry> entries) {
        return entries.stream()
                .map(entry -> new ControlRequest.Record(entry.kind().number(), ByteString.copyFrom(entry.payload())))
                .toList();
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

    /** Stops the node, and returns when it is gone. See {@link Node#stopFor}. */
    void stop(boolean force) throws NodeException {
        String tried = "to stop the node of " + directory;
        try (ProgressLine line = ProgressLine.during("waiting for the node to end")) {
            ControlReply reply = client.call(new ControlRequest.Stop(force), STOP_TIMEOUT);
            boolean ends = force || !(reply instanceof ControlReply.Failed);
            if (ends && !client.awaitClosed(STOP_TIMEOUT)) {
                throw stillStopping(tried, null);
            }
            if (reply instanceof ControlReply.Failed failure) {
                throw Failures.of(failure);
            }
        } catch (ControlException e) {
            throw e.code() == ControlException.Code.TIMED_OUT
                    ? stillStopping(tried, e)
                    : new NodeException(
                            ExitCode.FAILED,
                            tried + " with everything on its disk",
                            "it has ended without saying that everything is there: " + Failures.reason(e),
                            "look at the end of its log",
                            e);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new NodeException(ExitCode.FAILED, tried, "interrupted", "see whether it runs: btnode status", e);
        }
    }

    private static NodeException stillStopping(String tried, @Nullable ControlException cause) {
        return new NodeException(
                ExitCode.TIMED_OUT,
                tried,
                "it is still writing, or stopping, after " + STOP_TIMEOUT.toSeconds() + " s",
                "wait for it, or look at its log for what holds it up; with --force it gives up after its stop_timeout",
                cause);
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
