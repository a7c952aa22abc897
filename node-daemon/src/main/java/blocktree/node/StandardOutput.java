package blocktree.node;

import java.io.BufferedOutputStream;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import org.jspecify.annotations.Nullable;

/** Standard output that remembers why it took no more: Java's own keeps that to itself, and a command whose result got lost must not end with 0. */
final class StandardOutput extends OutputStream {
    private final OutputStream file = new FileOutputStream(FileDescriptor.out);
    private volatile @Nullable IOException failure;

    private StandardOutput() {}

    /** Takes the place of Java's own. */
    static StandardOutput install() {
        StandardOutput output = new StandardOutput();
        System.setOut(new PrintStream(new BufferedOutputStream(output), true, StandardCharsets.UTF_8));
        return output;
    }

    /** NodeException when something of what was printed is lost, other than to a reader that wanted no more. */
    void requireWhole() throws NodeException {
        System.out.flush();
        IOException lost = failure;
        if (lost != null && !String.valueOf(lost.getMessage()).contains("Broken pipe")) {
            throw new NodeException(
                    ExitCode.FAILED,
                    "to print the result",
                    Failures.reason(lost),
                    "let standard output go to where there is room, and run the command again",
                    lost);
        }
    }

    @Override
    public void write(int b) throws IOException {
        write(new byte[] {(byte) b}, 0, 1);
    }

    @Override
    public void write(byte[] bytes, int offset, int size) throws IOException {
        try {
            file.write(bytes, offset, size);
        } catch (IOException e) {
            failure = e;
            throw e;
        }
    }
}
