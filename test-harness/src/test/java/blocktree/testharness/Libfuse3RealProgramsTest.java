package blocktree.testharness;

class Libfuse3RealProgramsTest extends RealProgramsTest {
    Libfuse3RealProgramsTest() {
        super("libfuse3");
    }
}
