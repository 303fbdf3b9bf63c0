# Sourced by the stories in Java: what all of them do alike. Maven's central repository is asked for the class path
# only; the sources are those of the story and of kit/.
kit=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/kit
java=java
[ -n "${JAVA_HOME:-}" ] && java=$JAVA_HOME/bin/java
javac=${java}c

# JVMs that live for a minute on two cores: quick to start, small.
readonly JVM=("$java" -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xshare:auto -Xmx256m -Dfile.encoding=UTF-8)

java_needs() {
    command -v mvn >/dev/null || echo mvn
    command -v "$javac" >/dev/null && command -v "$java" >/dev/null || echo JDK
}

# java_build DIR SOURCES [MAVEN_OPTION...]: SOURCES has pom.xml and the packages; DIR gets classpath and classes.
java_build() {
    local dir=$1 sources=$2 wanted
    shift 2
    wanted=$(cat "$sources/pom.xml" && echo "$@")
    if [ "$(cat "$dir/classpath.of" 2>/dev/null)" != "$wanted" ]; then
        # Maven's local repository is not made for two at a time.
        flock "$dir/../maven.lock" mvn -q -B -f "$sources/pom.xml" "$@" -Dmdep.outputFile="$dir/classpath" \
            org.apache.maven.plugins:maven-dependency-plugin:3.8.1:build-classpath || return
        echo "$wanted" >"$dir/classpath.of"
    fi
    rm -rf "$dir/classes"
    find "$kit" "$sources" -name '*.java' >"$dir/sources"
    "$javac" -nowarn --release 8 -Xlint:-options -encoding UTF-8 -d "$dir/classes" -cp "$(cat "$dir/classpath")" "@$dir/sources"
}
