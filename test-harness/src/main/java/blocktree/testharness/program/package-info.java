/** Runs programs as a user would, and says what they printed when they fail. */
@NullMarked
package blocktree.testharness.program;

import org.jspecify.annotations.NullMarked;
