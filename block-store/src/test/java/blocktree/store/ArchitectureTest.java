package blocktree.store;

import static com.tngtech.archunit.core.domain.JavaClass.Predicates.resideInAPackage;
import static com.tngtech.archunit.core.domain.JavaClass.Predicates.resideOutsideOfPackages;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.noClasses;

import com.tngtech.archunit.core.importer.ImportOption.DoNotIncludeTests;
import com.tngtech.archunit.junit.AnalyzeClasses;
import com.tngtech.archunit.junit.ArchTest;
import com.tngtech.archunit.lang.ArchRule;

/** Blocks are stored and verified without knowing a network, a file tree or a mount. */
@AnalyzeClasses(packages = "blocktree.store", importOptions = DoNotIncludeTests.class)
class ArchitectureTest {

    @ArchTest
    static final ArchRule usesOnlyCrypto = noClasses()
            .should()
            .dependOnClassesThat(resideInAPackage("blocktree..")
                    .and(resideOutsideOfPackages("blocktree.store..", "blocktree.crypto..")))
            .allowEmptyShould(true);

    @ArchTest
    static final ArchRule knowsNoNetworkOrMount = noClasses()
            .should()
            .dependOnClassesThat()
            .resideInAnyPackage("io.netty..", "jnr..", "ru.serce..")
            .allowEmptyShould(true);
}
