package blocktree.testharness;

class Libfuse2RealProgramsTest extends RealProgramsTest {
    Libfuse2RealProgramsTest() {
        super("libfuse2");
    }
}
