package blocktree.node;

import blocktree.btmsg.ControlEvent;
import ch.qos.logback.classic.Level;
import ch.qos.logback.classic.LoggerContext;
import ch.qos.logback.classic.spi.ILoggingEvent;
import ch.qos.logback.classic.spi.IThrowableProxy;
import ch.qos.logback.classic.spi.StackTraceElementProxy;
import ch.qos.logback.core.AppenderBase;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.time.Instant;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.function.Consumer;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;
import org.slf4j.LoggerFactory;
import org.slf4j.event.KeyValuePair;

/**
 * The node's log on standard error: one event a line, as {@code time level event=name key=value…} or as JSON. A library's own
 * messages come as the event {@code library_message}.
 */
final class EventLog extends AppenderBase<ILoggingEvent> {
    private static final Pattern EVENT_NAME = Pattern.compile("[a-z][a-z0-9_]*");
    private static final Pattern PLAIN_VALUE = Pattern.compile("[^\\s\"=\\p{Cntrl}]+");
    private static final DateTimeFormatter TIME =
            DateTimeFormatter.ofPattern("uuuu-MM-dd'T'HH:mm:ss.SSS'Z'").withZone(ZoneOffset.UTC);
    private static final int STACK_DEPTH_MAX = 16;

    enum Format {
        TEXT,
        JSON,
        /** For a service manager that notes the time itself and takes the level from {@code <N>} before the line, as sd-daemon(3) says. */
        JOURNAL
    }

    private final PrintStream out;
    private final Format format;
    private volatile @Nullable Consumer<ControlEvent> listener;

    private EventLog(PrintStream out, Format format) {
        this.out = out;
        this.format = format;
    }

    /** Makes this the only place where the process logs to. {@code level} is for Blocktree's own code; libraries log from WARN on. */
    static EventLog start(Format format, Level level) {
        LoggerContext context = (LoggerContext) LoggerFactory.getILoggerFactory();
        return start(context, new PrintStream(System.err, false, StandardCharsets.UTF_8), format, level);
    }

    static EventLog start(LoggerContext context, PrintStream out, Format format, Level level) {
        context.reset();
        EventLog log = new EventLog(out, format);
        log.setContext(context);
        log.start();
        context.getLogger("ROOT").setLevel(Level.WARN);
        context.getLogger("ROOT").addAppender(log);
        context.getLogger("org.apache.ratis").setLevel(Level.OFF); // docs/cluster.md, "Ratis"
        context.getLogger("blocktree").setLevel(level);
        return log;
    }

    /** Also tells {@code consumer}, from INFO on; it must not log and must not wait. */
    void listen(Consumer<ControlEvent> consumer) {
        listener = consumer;
    }

    @Override
    protected void append(ILoggingEvent event) {
        String message = event.getFormattedMessage();
        boolean named = EVENT_NAME.matcher(message).matches();
        String name = named ? message : "library_message";
        Map<String, Object> fields = new LinkedHashMap<>();
        if (!named) {
            fields.put("logger", event.getLoggerName());
            fields.put("message", message);
        }
        if (event.getKeyValuePairs() != null) {
            for (KeyValuePair pair : event.getKeyValuePairs()) {
                boolean plain = pair.value instanceof Number || pair.value instanceof Boolean;
                fields.put(pair.key, plain ? pair.value : String.valueOf(pair.value));
            }
        }
        IThrowableProxy cause = event.getThrowableProxy();
        if (cause != null) {
            fields.put("error", name(cause) + cause.getMessage());
            fields.put("stack", stack(cause));
        }
        String level = event.getLevel().toString();
        String line = switch (format) {
            case TEXT -> text(event, level, name, fields);
            case JSON -> json(event, level, name, fields);
            case JOURNAL -> journalPrefix(event.getLevel()) + pairs(name, fields);
        };
        out.println(line);
        out.flush();
        Consumer<ControlEvent> consumer = listener;
        if (consumer != null && event.getLevel().isGreaterOrEqual(Level.INFO)) {
            Map<String, String> texts = new LinkedHashMap<>();
            fields.forEach((key, value) -> texts.put(key, value.toString()));
            consumer.accept(new ControlEvent(event.getTimeStamp(), level, name, texts));
        }
    }

    private static String json(ILoggingEvent event, String level, String name, Map<String, Object> fields) {
        Map<String, Object> line = new LinkedHashMap<>();
        line.put("time", TIME.format(Instant.ofEpochMilli(event.getTimeStamp())));
        line.put("level", level);
        line.put("event", name);
        line.putAll(fields);
        return Json.of(line);
    }

    private static String text(ILoggingEvent event, String level, String name, Map<String, Object> fields) {
        StringBuilder line = new StringBuilder(TIME.format(Instant.ofEpochMilli(event.getTimeStamp())));
        line.append(' ').append(level).append(" ".repeat(6 - level.length())).append(pairs(name, fields));
        return line.toString();
    }

    /** What systemd takes for the level of a line; see sd-daemon(3). */
    static String journalPrefix(Level level) {
        return "<" + priority(level) + ">";
    }

    /** Of syslog(3). */
    private static int priority(Level level) {
        return switch (level.toInt()) {
            case Level.ERROR_INT -> 3;
            case Level.WARN_INT -> 4;
            case Level.INFO_INT -> 6;
            default -> 7;
        };
    }

    private static String pairs(String name, Map<String, Object> fields) {
        StringBuilder line = new StringBuilder("event=").append(name);
        fields.forEach((key, value) -> line.append(' ')
                .append(key)
                .append('=')
                .append(PLAIN_VALUE.matcher(value.toString()).matches() ? value : Json.of(value)));
        return line.toString();
    }

    /** Blocktree's own exceptions say everything in their message; of others the class is half of what they say. */
    private static String name(IThrowableProxy error) {
        return error.getClassName().startsWith("blocktree.") ? "" : error.getClassName() + ": ";
    }

    /** The innermost calls of the error and of its causes, on one line. */
    private static String stack(IThrowableProxy error) {
        StringBuilder text = new StringBuilder();
        for (IThrowableProxy each = error; each != null; each = each.getCause()) {
            if (each != error) {
                text.append(" caused by ")
                        .append(each.getClassName())
                        .append(": ")
                        .append(each.getMessage())
                        .append(' ');
            }
            StackTraceElementProxy[] frames = each.getStackTraceElementProxyArray();
            for (int i = 0; i < Math.min(STACK_DEPTH_MAX, frames.length); i++) {
                text.append(i == 0 ? "" : " < ").append(frames[i].getStackTraceElement());
            }
        }
        return text.toString();
    }
}
