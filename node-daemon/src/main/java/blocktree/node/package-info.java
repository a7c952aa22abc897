/** The node: wiring, configuration, command line, control protocol, logging and metrics. */
@NullMarked
package blocktree.node;

import org.jspecify.annotations.NullMarked;
