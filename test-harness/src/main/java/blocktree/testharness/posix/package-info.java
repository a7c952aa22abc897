/**
 * System calls with their exact results: what {@code java.nio} hides (errno, flags, odd names) is what the tests are about. Linux only.
 *
 * <p>Paths and names are strings in which each char is one byte (ISO 8859-1), so that any bytes can be named.
 */
@NullMarked
package blocktree.testharness.posix;

import org.jspecify.annotations.NullMarked;
