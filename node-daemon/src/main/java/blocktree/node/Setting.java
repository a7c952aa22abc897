package blocktree.node;

import blocktree.crypto.NodeRecord;
import blocktree.fuse.Library;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.UnknownHostException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/** What can be configured, in {@code btnode.toml} by its key and in the environment as {@code BTNODE_} and its key in capitals; docs/operations.md lists them too. */
enum Setting {
    DATA_DIR(Form.PATH, "", "where the node keeps what is its own"),
    PASSPHRASE_FILE(Form.PATH, "", "file with the passphrase of a node key that has one"),
    RETENTION(Form.TIME, "1d", "how long earlier versions are kept"),
    DIRTY_LIMIT(Form.SIZE, "48M", "most data that may wait in memory to be written"),
    CACHE_SIZE(Form.SIZE, "64M", "memory for the store's caches"),
    SCRUB_RATE(Form.SIZE, "8M", "bytes a second at which the node verifies, once a week, all that is stored; 0: never"),
    REQUEST_TIMEOUT(Form.TIMEOUT, "2m", "how long a program waits for a disk that does not answer"),
    FUSE_LIBRARY(
            FuseLibrary.class, "automatic", "what mounts go through; automatic: libfuse3 where it is, else libfuse2"),
    STOP_TIMEOUT(Form.TIMEOUT, "60s", "after that a stopping node gives up"),
    LISTEN(
            Form.ADDRESS,
            "off",
            "address and port where the tree's other nodes reach this one, such as 0.0.0.0:9274; off"),
    ADVERTISE(
            Form.ADDRESSES,
            "",
            "under which addresses they do, such as home.example.org:9274, separated by commas, where it is not what listen says"),
    NODE_NAME(Form.NAME, "", "what other nodes call this one; else the name it has joined under, or the machine's"),
    LOG_KEPT(
            Form.COUNT,
            "1024",
            "how many changes are kept for other nodes that were away; who was away for more of them stops its mounts to bring its store up to date"),
    METRICS(Form.ADDRESS, "off", "address and port for /metrics and /health, such as 127.0.0.1:9273; off"),
    LOG_FORMAT(EventLog.Format.class, "text", "how the node logs, one event a line"),
    LOG_LEVEL(RunCommand.LogLevel.class, "info", "from which level on the node logs");

    /** What a mount may go through. */
    enum FuseLibrary {
        AUTOMATIC(null),
        LIBFUSE3(Library.LIBFUSE3),
        LIBFUSE2(Library.LIBFUSE2);

        private final @Nullable Library library;

        FuseLibrary(@Nullable Library library) {
            this.library = library;
        }

        /** Null: the first that is here. */
        @Nullable
        Library library() {
            return library;
        }
    }

    /** A kind of text. @param check refuses one with an IllegalArgumentException that says what is expected */
    private record Form(String label, Consumer<String> check) {
        private static final long TIMEOUT_MILLIS_MIN = 1_000;
        private static final long TIMEOUT_MILLIS_MAX = 86_400_000;
        private static final Form TIME = new Form("TIME", Quantity::parseMillis);
        private static final Form TIMEOUT = new Form("TIME", Form::checkTimeout);
        private static final Form SIZE = new Form("SIZE", Quantity::parseBytes);
        private static final Form COUNT = new Form("COUNT", Setting::parseCount);
        private static final Form ADDRESS = new Form("ADDRESS:PORT", Setting::parseAddress);
        private static final Form ADDRESSES = new Form("HOST:PORT,…", Setting::parseAddresses);
        private static final Form NAME = new Form("NAME", Form::checkName);
        private static final Form PATH = new Form("PATH", Form::checkPath);

        private static <E extends Enum<E>> Form choice(Class<E> type) {
            return new Form(String.join("|", Choice.labels(type)), text -> Choice.of(type, text));
        }

        private static void checkTimeout(String text) {
            long millis = Quantity.parseMillis(text);
            if (millis < TIMEOUT_MILLIS_MIN || millis > TIMEOUT_MILLIS_MAX) {
                throw new IllegalArgumentException("'" + text + "' is not between 1s and 1d");
            }
        }

        private static void checkName(String text) {
            if (!text.isEmpty() && !NodeRecord.isName(text)) {
                throw new IllegalArgumentException(
                        "'" + text
                                + "' is not a name of 1 to 63 letters, digits, dots, underlines and hyphens, a letter or digit first");
            }
        }

        private static void checkPath(String text) {
            if (text.isEmpty() || text.indexOf('\0') >= 0) {
                throw new IllegalArgumentException("'" + text + "' is not a path");
            }
        }
    }

    private static final String OFF = "off";
    private static final int COUNT_MIN = 16;
    private static final int COUNT_MAX = 1_000_000;

    private final Form form;
    private final String defaultText;
    private final String description;

    <E extends Enum<E>> Setting(Class<E> choices, String defaultText, String description) {
        this(Form.choice(choices), defaultText, description);
    }

    Setting(Form form, String defaultText, String description) {
        this.form = form;
        this.defaultText = defaultText;
        this.description = description;
    }

    String key() {
        return name().toLowerCase(Locale.ROOT);
    }

    String variable() {
        return "BTNODE_" + name();
    }

    /** Empty when there is none. */
    String defaultText() {
        return defaultText;
    }

    /** What its values look like, in capitals where they are no words of their own. */
    String label() {
        return form.label;
    }

    String description() {
        return description;
    }

    /** IllegalArgumentException, with what is expected, for what is no value of this setting. */
    void check(String text) {
        form.check.accept(text);
    }

    /** Whether {@code btnode.toml} may give it as a number. */
    boolean isNumber() {
        return form == Form.SIZE || form == Form.COUNT;
    }

    boolean isPath() {
        return form == Form.PATH;
    }

    /** IllegalArgumentException for anything but a number from 16 to 1,000,000. */
    static int parseCount(String text) {
        int count = text.matches("[0-9]{1,7}") ? Integer.parseInt(text) : 0;
        if (count < COUNT_MIN || count > COUNT_MAX) {
            throw new IllegalArgumentException("'" + text + "' is not a number from 16 to 1000000");
        }
        return count;
    }

    /** Null for {@code off}. IllegalArgumentException for anything that is neither that nor an address of this machine and a port. */
    static @Nullable InetSocketAddress parseAddress(String text) {
        if (text.equals(OFF)) {
            return null;
        }
        int colon = text.lastIndexOf(':');
        try {
            int port = Integer.parseInt(text.substring(colon + 1));
            String host = text.substring(0, Math.max(0, colon));
            // Only what needs no name service: a node that starts must not wait for one.
            if (port < 0 || port > 65_535 || !host.matches("[0-9.]+|\\[[0-9a-fA-F:.]+]|localhost")) {
                throw new NumberFormatException();
            }
            return new InetSocketAddress(InetAddress.getByName(host), port);
        } catch (NumberFormatException | UnknownHostException e) {
            throw new IllegalArgumentException(
                    "'" + text + "' is neither 'off' nor an address and a port, such as 127.0.0.1:9273", e);
        }
    }

    /** Names stay unresolved. IllegalArgumentException for anything that is not hosts and ports. */
    static List<InetSocketAddress> parseAddresses(String text) {
        List<InetSocketAddress> addresses = new ArrayList<>();
        for (String each : text.split(",", -1)) {
            String address = each.strip();
            if (address.isEmpty() && text.isBlank()) {
                continue;
            }
            int colon = address.lastIndexOf(':');
            String host = address.substring(0, Math.max(0, colon));
            try {
                int port = Integer.parseInt(address.substring(colon + 1));
                boolean bracketed = host.startsWith("[") && host.endsWith("]");
                String bare = bracketed ? host.substring(1, host.length() - 1) : host;
                if (port < 1 || port > 65_535 || !NodeRecord.isHost(bare) || bracketed != bare.contains(":")) {
                    throw new NumberFormatException();
                }
                addresses.add(InetSocketAddress.createUnresolved(bare, port));
            } catch (NumberFormatException e) {
                throw new IllegalArgumentException(
                        "'" + address + "' is no host and port, such as home.example.org:9274", e);
            }
        }
        return List.copyOf(addresses);
    }

    static List<String> keys() {
        return Arrays.stream(values()).map(Setting::key).toList();
    }
}
