package blocktree.node;

import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.IVersionProvider;
import picocli.CommandLine.Mixin;

@Command(name = "version", description = "Say which version this is.", mixinStandardHelpOptions = true)
final class VersionCommand implements Callable<Integer> {
    @Mixin
    private Output output;

    static final class Provider implements IVersionProvider {
        @Override
        public String[] getVersion() {
            return new String[] {text()};
        }
    }

    @Override
    public Integer call() {
        Map<String, Object> value = new LinkedHashMap<>();
        value.put("version", Version.NAME);
        value.put("java", Runtime.version().toString());
        output.print(value, text());
        return ExitCode.OK.code();
    }

    private static String text() {
        return Version.SOFTWARE + " (Java " + Runtime.version().feature() + ")";
    }
}
