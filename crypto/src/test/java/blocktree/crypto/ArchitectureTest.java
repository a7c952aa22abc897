package blocktree.crypto;

import static com.tngtech.archunit.core.domain.JavaClass.Predicates.resideInAPackage;
import static com.tngtech.archunit.core.domain.JavaClass.Predicates.resideOutsideOfPackage;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.noClasses;

import com.tngtech.archunit.core.importer.ImportOption.DoNotIncludeTests;
import com.tngtech.archunit.junit.AnalyzeClasses;
import com.tngtech.archunit.junit.ArchTest;
import com.tngtech.archunit.lang.ArchRule;

/** The bottom module: it uses no other one, and knows no network, store or mount. */
@AnalyzeClasses(packages = "blocktree.crypto", importOptions = DoNotIncludeTests.class)
class ArchitectureTest {

    @ArchTest
    static final ArchRule usesNoOtherModule = noClasses()
            .should()
            .dependOnClassesThat(resideInAPackage("blocktree..").and(resideOutsideOfPackage("blocktree.crypto..")))
            .allowEmptyShould(true);

    @ArchTest
    static final ArchRule knowsNoNetworkStoreOrMount = noClasses()
            .should()
            .dependOnClassesThat()
            .resideInAnyPackage("io.netty..", "org.rocksdb..", "jnr..", "ru.serce..")
            .allowEmptyShould(true);
}
